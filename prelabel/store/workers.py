"""Workers as RQ registers them in Redis: a name, the machine it runs on, and a heartbeat."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import redis
from rq import Queue, Worker
from rq.utils import utcparse

from prelabel.store.connection import reaching_redis

HEARTBEAT_S = 30
"""Seconds between two heartbeats of a worker that is busy; an idle one is heard of more often."""
SILENT_S = 3 * HEARTBEAT_S
"""A worker that has not been heard of for longer is taken for dead."""


def seconds_since_heard(client: redis.Redis, hostname: str) -> float | None:
    """How long ago the last heartbeat of a worker on ``hostname`` was; None if none is registered.

    :raises StoreUnavailable: Redis is away.
    """
    with reaching_redis():
        heard = [
            worker.last_heartbeat
            for worker in Worker.all(connection=client)
            if worker.hostname == hostname and worker.last_heartbeat
        ]
    return (datetime.now(UTC) - max(map(_aware, heard))) / timedelta(seconds=1) if heard else None


def heard_of_lately(queue: Queue) -> Mapping[str, int]:
    """How many workers take jobs from ``queue``, those that are ``busy`` and those that are ``idle``.

    RQ's own list would take some round trips for each of them.

    :raises StoreUnavailable: Redis is away.
    """
    now, found = datetime.now(UTC), {"busy": 0, "idle": 0}
    with reaching_redis():
        pipe = queue.connection.pipeline(transaction=False)
        for key in Worker.all_keys(queue=queue):
            pipe.hmget(key, "state", "last_heartbeat")
        for state, heard in pipe.execute():
            if heard and (now - utcparse(heard.decode())).total_seconds() <= SILENT_S:
                found["busy" if state == b"busy" else "idle"] += 1
    return found


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
