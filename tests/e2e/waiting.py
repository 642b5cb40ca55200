"""Waiting for what other processes do: by looking again, never by guessing how long it takes."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

WITHIN_S = 60.0
LOOK_S = 0.1


def until(holds: Callable[[], T | None], within_s: float = WITHIN_S, look_s: float = LOOK_S) -> T:
    """What ``holds`` says once it is something."""
    end = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < end, f"not within {within_s:g} s"
        time.sleep(look_s)
    return found
