"""An RQ worker with what its jobs need already loaded, so that each forked work-horse starts at once.

RQ lets the job in hand finish when it is told to stop, which for a bulk run may be hours. Here a bulk run ends at once
and other jobs have a few seconds; what is not over then is put back at the head of the queue. A worker with nothing
else to do takes up runs that another has left without a word.
"""

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from types import FrameType
from typing import Any

import redis
from rq import Queue, Worker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus

import prelabel.runs.jobs  # noqa: F401 - loaded before the worker forks
from prelabel.bootstrap import Services
from prelabel.errors import PrelabelError
from prelabel.llm import loop as llm
from prelabel.metrics.reporting import Reporting
from prelabel.runs import control
from prelabel.runs.stopping import SAME_S, stopping
from prelabel.store import connection
from prelabel.store.connection import reaching_redis
from prelabel.store.workers import HEARTBEAT_S
from prelabel.studio import client as studio

log = logging.getLogger(__name__)

FINISH_S = 5.0
"""How long a job may go on after a stop signal; all but bulk runs and training are over by then."""
LEAVE_S = 20.0
"""How long it may take after that to write down what it has, before it is killed."""
LOOK_S = 10
"""Between looks for abandoned runs, of a worker with nothing to do."""
RQ_MARGIN_S = 15
"""RQ 2.12 waits for a job for its worker's time to live, less these seconds."""


def work(services: Services, *, burst: bool = False) -> None:
    """Work until told to stop, or with ``burst`` until the queue is empty.

    :raises StoreUnavailable: Redis is away.
    """
    llm.load()
    studio.load()
    client = connection.connect_queue(services.settings.redis_url, answer_timeout_s=None)
    with reaching_redis():
        client.ping()
        StoppableWorker(
            [services.jobs.name],
            services=services,
            connection=client,
            serializer=JSONSerializer,
            worker_ttl=LOOK_S + RQ_MARGIN_S,
            maintenance_interval=LOOK_S,
            job_monitoring_interval=HEARTBEAT_S,
        ).work(burst=burst, with_scheduler=True)


class StoppableWorker(Worker):
    """Puts the job in hand back, with none of its tries used up, rather than wait for it or lose it.

    Two processes run this: the worker, and forked from it for each job the work-horse.
    """

    def __init__(self, *arguments: Any, services: Services, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._services = services
        self._reporting = Reporting(services.measures, services.counts)
        self._has_killed = False
        self._stop_asked_at = 0.0

    def run_maintenance_tasks(self) -> None:
        """RQ's own, at the start and every ``LOOK_S`` seconds; and runs that are nobody's."""
        super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        try:
            control.take_up_abandoned(self._services)
        except PrelabelError as error:
            log.warning("abandoned runs were not looked for: %s", error)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """On the first stop signal."""
        self._stop_asked_at = time.monotonic()
        if self.get_state() == WorkerStatus.BUSY:
            self._tell_horse()
            for after_s, act in ((FINISH_S, self._tell_horse), (FINISH_S + LEAVE_S, self._kill_horse)):
                timer = Timer(after_s, act)
                timer.daemon = True
                timer.start()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def request_force_stop(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 - RQ's signature
        """On a further one: waits no longer. The worker ends as soon as it has put the job back."""
        if time.monotonic() - self._stop_asked_at > SAME_S:
            self._kill_horse()

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """With stop signals held back until both processes are ready for them, so that none is lost in between."""
        with _held_back():
            super().fork_work_horse(job, queue)
        if self._stop_requested:  # it came when there was no work-horse yet, or its number was not known
            self._tell_horse()

    def setup_work_horse_signals(self) -> None:
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]
        stopping.listen()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def perform_job(self, job: Job, queue: Queue) -> bool:
        """In the work-horse."""
        with self._reporting.of_job():
            return super().perform_job(job, queue)

    def maintain_heartbeats(self, job: Job) -> None:
        """RQ's would end the worker, if Redis is away at that moment."""
        try:
            super().maintain_heartbeats(job)
        except redis.RedisError as error:
            log.warning("no heartbeat: %s", error)

    def handle_work_horse_killed(self, job: Job, retpid: int, ret_val: int, rusage: Any) -> None:
        """What it held of a run is free at once, and the run is gone on with."""
        super().handle_work_horse_killed(job, retpid, ret_val, rusage)  # type: ignore[no-untyped-call]
        try:
            control.bury(self._services, retpid)
        except PrelabelError as error:
            log.warning("what a dead work-horse held is free only once its leases are over: %s", error)

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

    @property
    def _gives_back(self) -> bool:
        """Whether the job in hand ended because the worker is to stop: seen by the work-horse, or by who killed it."""
        return stopping.is_obeyed or self._has_killed

    def _tell_horse(self) -> None:
        if self.horse_pid:
            os.kill(self.horse_pid, signal.SIGTERM)

    def _kill_horse(self) -> None:
        if self.horse_pid:
            self._has_killed = True
            self.kill_horse()


@contextmanager
def _held_back() -> Iterator[None]:
    """A block in which this thread is sent no stop signal; one that comes meanwhile arrives at its end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
