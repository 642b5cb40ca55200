"""Workers as RQ registers them in Redis: a name, the machine it runs on, and a heartbeat."""

from datetime import UTC, datetime, timedelta

import redis
from rq import Worker

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


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
