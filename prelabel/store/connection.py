"""Redis, met in one place: how it is reached, and its errors as ours."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import LockError
from redis.retry import Retry

from prelabel.errors import StoreRefuses, StoreUnavailable

CONNECT_TIMEOUT_S = 0.5
ANSWER_TIMEOUT_S = 1.0
"""Short, since Label Studio itself waits three seconds for ``/setup`` and one for a webhook."""
LEFT_ALONE_S = 5.0
"""After a timeout Redis counts as away for this long, so that a request waits for it once and not at every step."""

_away_until = 0.0


# Once more, for a connection that went stale while it was idle; a timeout is not waited for twice.
_ONCE_MORE: Any = {"backoff": NoBackoff(), "retries": 1, "supported_errors": (redis.ConnectionError,)}
_TEXTS: Any = {
    "decode_responses": True,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_timeout": ANSWER_TIMEOUT_S,
    "health_check_interval": 30,
}


def connect(url: str) -> redis.Redis:
    """A client whose replies are text; connections are opened on first use, so it may be made before a fork."""
    return redis.Redis.from_url(url, retry=Retry(**_ONCE_MORE), **_TEXTS)


def connect_async(url: str) -> redis.asyncio.Redis:
    """The same as :func:`connect` for one event loop, on which it must be closed, too."""
    # A busy loop hears late of a connection that was made at once.
    patient = {**_TEXTS, "socket_connect_timeout": ANSWER_TIMEOUT_S}
    return redis.asyncio.Redis.from_url(url, retry=AsyncRetry(**_ONCE_MORE), **patient)


def connect_queue(url: str, answer_timeout_s: float | None = ANSWER_TIMEOUT_S) -> redis.Redis:
    """A client as RQ needs it: replies stay bytes.

    :param answer_timeout_s: None for a worker, which waits for jobs.
    """
    return redis.Redis.from_url(url, socket_connect_timeout=CONNECT_TIMEOUT_S, socket_timeout=answer_timeout_s)


@contextmanager
def reaching_redis() -> Iterator[None]:
    """:raises StoreUnavailable: Redis could not be reached or did not answer in time.

    :raises StoreRefuses: it answered, with an error.
    """
    global _away_until  # noqa: PLW0603 - one Redis a process
    if time.monotonic() < _away_until:
        raise StoreUnavailable("Redis does not answer (REDIS_URL)")
    try:
        yield
    except redis.TimeoutError as error:
        _away_until = time.monotonic() + LEFT_ALONE_S
        raise StoreUnavailable(f"Redis does not answer (REDIS_URL): {error}") from error
    except redis.ResponseError as error:
        raise StoreRefuses(f"Redis refuses (REDIS_URL): {error}") from error
    except LockError:  # a lock that another holds is no trouble with Redis
        raise
    except redis.RedisError as error:
        raise StoreUnavailable(f"Redis does not answer (REDIS_URL): {error}") from error
