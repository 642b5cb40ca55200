"""An RQ worker with what its jobs need already loaded, so that each forked work-horse starts at once.

RQ lets the job in hand finish when it is told to stop, which for a bulk run may be hours. Here a job has a few seconds
for that; then it is told to write down what it has, and put back at the head of the queue for the next worker.
"""

import logging
import os
import signal
from threading import Timer
from types import FrameType
from typing import Any, NoReturn

from rq import Queue, Worker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus

import prelabel.runs.jobs  # noqa: F401 - loaded before the worker forks
from prelabel.bootstrap import Services
from prelabel.store import connection
from prelabel.store.connection import reaching_redis
from prelabel.store.workers import HEARTBEAT_S

log = logging.getLogger(__name__)

FINISH_S = 5.0
"""How long a job may go on after a stop signal; all but bulk runs and training are over by then."""
LEAVE_S = 20.0
"""How long it may take after that to write down what it has, before it is killed."""


def work(services: Services, *, burst: bool = False) -> None:
    """Work until told to stop, or with ``burst`` until the queue is empty.

    :raises StoreUnavailable: Redis is away.
    """
    client = connection.connect_queue(services.settings.redis_url, answer_timeout_s=None)
    with reaching_redis():
        client.ping()
        StoppableWorker(
            [services.jobs.name],
            connection=client,
            serializer=JSONSerializer,
            worker_ttl=HEARTBEAT_S + 15,  # an idle one is heard of 15 s before that
            job_monitoring_interval=HEARTBEAT_S,
        ).work(burst=burst, with_scheduler=True)


class ToldToStop(BaseException):
    """Raised in a job whose worker was told to stop; no ``except Exception`` within it keeps it going."""


class StoppableWorker(Worker):
    """Puts the job in hand back, with none of its tries used up, rather than wait for it or lose it.

    Two processes run this: the worker, and forked from it for each job the work-horse.
    """

    _gives_back = False

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """On the first stop signal."""
        if self.get_state() == WorkerStatus.BUSY:
            for after_s, act in ((FINISH_S, self._ask_horse), (FINISH_S + LEAVE_S, self._kill_horse)):
                timer = Timer(after_s, act)
                timer.daemon = True
                timer.start()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def request_force_stop(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 - RQ's signature
        """On a further one: waits no longer. The worker ends as soon as it has put the job back."""
        self._kill_horse()

    def setup_work_horse_signals(self) -> None:
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]
        signal.signal(signal.SIGTERM, self._leave)

    def handle_exception(self, job: Job, *exc_info: Any) -> Any:
        return None if self._gives_back else super().handle_exception(job, *exc_info)

    def handle_job_failure(
        self, job: Job, queue: Queue, started_job_registry: Any = None, exc_string: str = ""
    ) -> None:
        if not self._gives_back:
            super().handle_job_failure(job, queue, started_job_registry, exc_string)
            return
        queue.enqueue_job(job, at_front=True)  # first of all, so that whatever happens next it is not lost
        with self.connection.pipeline() as pipeline:
            self.cleanup_execution(job, pipeline=pipeline)
            pipeline.execute()
        log.info("job %s is put back, since the worker was told to stop", job.id)

    def _ask_horse(self) -> None:
        if self.horse_pid:
            os.kill(self.horse_pid, signal.SIGTERM)

    def _kill_horse(self) -> None:
        if self.horse_pid:
            self._gives_back = True
            self.kill_horse()

    def _leave(self, _signum: int, _frame: FrameType | None) -> NoReturn:
        """In the work-horse: end the job where it is; what it holds to write, it writes on its way out."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._gives_back = True
        raise ToldToStop
