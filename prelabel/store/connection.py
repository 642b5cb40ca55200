"""Redis, met in one place: how it is reached, and its errors as ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from prelabel.errors import StoreUnavailable

CONNECT_TIMEOUT_S = 0.5
ANSWER_TIMEOUT_S = 2.0
"""Short, since Label Studio itself waits three seconds for ``/setup`` and one for a webhook."""


def connect(url: str) -> redis.Redis:
    """A client whose replies are text; connections are opened on first use, so it may be made before a fork."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 1),
        health_check_interval=30,
    )


def connect_queue(url: str) -> redis.Redis:
    """A client as RQ needs it: replies stay bytes, and a worker may wait for a job as long as it likes."""
    return redis.Redis.from_url(url, socket_connect_timeout=CONNECT_TIMEOUT_S)


@contextmanager
def reaching_redis() -> Iterator[None]:
    """:raises StoreUnavailable: Redis could not be reached, refused or did not answer in time."""
    try:
        yield
    except redis.RedisError as error:
        raise StoreUnavailable(f"Redis does not answer (REDIS_URL): {error}") from error
