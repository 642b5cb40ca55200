"""An event loop on which time passes only while everybody waits, and then at once: hours of waiting in no time."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Clock = Callable[[], float]


class _Leap(selectors.SelectSelector):
    """Waits by putting the clock forward."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits for something that will never come"
        self.now += max(0.0, timeout)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, leap: _Leap) -> None:
        self._leap = leap
        super().__init__(leap)

    def time(self) -> float:
        return self._leap.now


def run(work: Callable[[Clock], Coroutine[Any, Any, T]]) -> T:
    """What ``work`` gives, called with the loop's clock."""
    with asyncio.Runner(loop_factory=lambda: _Loop(_Leap())) as runner:
        loop = runner.get_loop()
        return runner.run(work(loop.time))
