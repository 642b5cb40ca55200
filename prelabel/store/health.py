"""Whether Redis is fit to keep what prelabel gives it: reachable, writable, of a release that knows our commands.

Looked at without the pause that ``connection`` makes after a timeout, so that it says what is the matter now.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis

from prelabel.address import Trouble, look, trouble_of
from prelabel.errors import StoreUnavailable
from prelabel.store.keys import PROBE

NEEDED = (6, 2)
"""ZMSCORE and SMISMEMBER came with it."""
PROBE_KEPT_S = 5


@dataclass(frozen=True, slots=True)
class Health:
    """Redis as it was found."""

    version: tuple[int, ...]
    refusal: str
    """Why it takes no writes, empty if it does."""
    evicts: str
    """The policy by which it drops keys when its memory is full, empty if it drops none."""
    is_persistent: bool | None
    """Whether it outlives a restart; None where it does not tell, as services in the cloud do not."""


class Unreachable(StoreUnavailable):
    """:param trouble: None where ``message`` says all there is."""

    def __init__(self, message: str, trouble: Trouble | None = None) -> None:
        super().__init__(message)
        self.trouble = trouble


def examine(client: redis.Redis) -> Health:
    """:raises Unreachable: it cannot be asked."""
    with _reaching(client):
        client.ping()
        facts: Any = client.info()
        return Health(
            version=tuple(int(number) for number in re.findall(r"\d+", str(facts["redis_version"]))[:2]),
            refusal=_refusal(client),
            evicts=policy if (policy := str(facts.get("maxmemory_policy", "noeviction"))) != "noeviction" else "",
            is_persistent=bool(facts.get("aof_enabled")) or _saves(client),
        )


def _refusal(client: redis.Redis) -> str:
    try:
        client.set(PROBE, 1, ex=PROBE_KEPT_S)
    except redis.ResponseError as error:
        return str(error)
    return ""


def _saves(client: redis.Redis) -> bool | None:
    try:
        found: Any = client.config_get("save")
    except redis.ResponseError:
        return None
    return bool(found.get("save")) if "save" in found else None


@contextmanager
def _reaching(client: redis.Redis) -> Iterator[None]:
    try:
        yield
    except redis.AuthenticationError as error:
        raise Unreachable(str(error), Trouble.PASSWORD) from error
    except redis.TimeoutError as error:
        raise Unreachable(str(error), trouble_of(error) or Trouble.SILENT) from error
    except redis.ConnectionError as error:
        raise Unreachable(str(error), _trouble(error, client)) from error
    except redis.RedisError as error:
        raise Unreachable(str(error)) from error


def _trouble(error: redis.ConnectionError, client: redis.Redis) -> Trouble | None:
    """What the operating system says; else somebody hung up, as a server of HTTP does."""
    if trouble := trouble_of(error):
        return trouble
    options = client.connection_pool.connection_kwargs
    answer = look(f"http://{options.get('host')}:{options.get('port')}/")
    return None if isinstance(answer, Trouble) else Trouble.FOREIGN
