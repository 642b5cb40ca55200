"""An RQ worker with what its jobs need already loaded, so that each forked work-horse starts at once."""

from rq import Worker
from rq.serializers import JSONSerializer

import prelabel.runs.jobs  # noqa: F401 - loaded before the worker forks
from prelabel.bootstrap import Services
from prelabel.store import connection
from prelabel.store.connection import reaching_redis


def work(services: Services, *, burst: bool = False) -> None:
    """Work until told to stop, or with ``burst`` until the queue is empty.

    :raises StoreUnavailable: Redis is away.
    """
    client = connection.connect_queue(services.settings.redis_url, answer_timeout_s=None)
    with reaching_redis():
        client.ping()
        Worker([services.jobs.name], connection=client, serializer=JSONSerializer).work(
            burst=burst, with_scheduler=True
        )
