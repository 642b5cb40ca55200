"""Work in the background that is done while there is any, by one task at a time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

Failed = Callable[[BaseException], None]
"""Is told of a bug."""


class Chore:
    """:param work: does what there is to do, and ends when there is no more."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]], failed: Failed) -> None:
        self._work = work
        self._failed = failed
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """There is something to do."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
            self._task.add_done_callback(self._ended)

    async def end(self) -> None:
        """Stop in the middle."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
