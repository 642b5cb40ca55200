"""An RQ worker with what its jobs need already loaded, so that each forked work-horse starts at once.

It ends within seconds of being told to, whatever it is doing, and takes up runs that another worker has left.
"""

import logging
import os
import signal
from contextlib import suppress
from threading import Timer
from typing import Any

from rq import Worker
from rq.serializers import JSONSerializer

import prelabel.runs.jobs  # noqa: F401 - loaded before the worker forks
from prelabel.bootstrap import Services
from prelabel.errors import PrelabelError
from prelabel.runs import control
from prelabel.runs.stopping import stopping
from prelabel.store import connection
from prelabel.store.connection import reaching_redis

log = logging.getLogger(__name__)

STOPPED_WITHIN_S = 8.0
"""How long a job may take to stop before its process is killed; RQ then tries it again elsewhere."""
LOOK_S = 10
"""Seconds between looks for abandoned runs while there is nothing else to do."""
DEQUEUE_SHORTER_S = 15
"""RQ 2.12 waits for a job for its worker's time to live, less these seconds."""


def work(services: Services, *, burst: bool = False) -> None:
    """Work until told to stop, or with ``burst`` until the queue is empty.

    :raises StoreUnavailable: Redis is away.
    """
    client = connection.connect_queue(services.settings.redis_url, answer_timeout_s=None)
    with reaching_redis():
        client.ping()
        _Worker(services, connection=client).work(burst=burst, with_scheduler=True)


class _Worker(Worker):
    def __init__(self, services: Services, **more: Any) -> None:
        super().__init__(
            [services.jobs.name],
            serializer=JSONSerializer,
            worker_ttl=LOOK_S + DEQUEUE_SHORTER_S,
            maintenance_interval=LOOK_S,
            **more,
        )
        self._services = services

    def run_maintenance_tasks(self) -> None:
        """RQ's own at its start and every ``LOOK_S`` seconds, and ours."""
        super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        try:
            for run in control.take_up_abandoned(self._services):
                log.info("run %s has no worker: taken up", run)
        except PrelabelError as error:
            log.warning("abandoned runs were not looked for: %s", error)

    def setup_work_horse_signals(self) -> None:
        """In the process that does a job."""
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]
        stopping.listen()

    def handle_warm_shutdown_request(self) -> None:
        """Pass it on to the process that does the job, which RQ would let go on for as long as it takes."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        if self.horse_pid:
            horse = os.getpgid(self.horse_pid)
            os.killpg(horse, signal.SIGTERM)
            killer = Timer(STOPPED_WITHIN_S, _kill, [horse])
            killer.daemon = True
            killer.start()


def _kill(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
