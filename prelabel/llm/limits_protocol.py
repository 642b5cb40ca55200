"""When one more request may go out: what :class:`prelabel.llm.chat.ChatClient` asks of a rate limiter.

``Unlimited`` is the simplest one: it bounds the requests in flight and waits out what the server orders.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Protocol

UNTOLD_PAUSE_S, LONGEST_UNTOLD_PAUSE_S = 1.0, 30.0
"""The first pause after a 429 that names no time, doubled with each further one, and the longest."""


class Permit(Protocol):
    """Leave for one request, held while it is in flight."""

    def settle(self, headers: Mapping[str, str], tokens: int) -> None:
        """What the server said of its limits, and what the request has cost.

        Called once for every answer of the server, errors among them (then with 0 tokens); not called where none came.

        :param headers: names in any case; look them up in lower case.
        """


class Limits(Protocol):
    """The limits of one key at one server, shared by all who use it in this process."""

    def request(self, tokens: int, *, is_awaited: bool) -> AbstractAsyncContextManager[Permit]:
        """Waits until one more request of about so many tokens may be in flight.

        :param is_awaited: somebody looks at the screen until it is answered: it goes before bulk work.
        """

    async def paused(self, seconds: float) -> None:
        """The server has answered 429: every caller of this key waits (0: it named no time).

        Only notes it and returns; the waiting is done in :meth:`request`. Called before the permit is given back, so
        that nobody slips through.
        """

    def overloaded(self) -> None:
        """The server is at its limit (429, 5xx, no answer in time): fewer at once; before the permit is given back."""

    def went_well(self) -> None:
        """A request was answered: there may be more at once, in time; before the permit is given back."""

    async def close(self) -> None:
        """Hang up; nothing is asked of it afterwards."""


class Slots:
    """How many requests a process may have in flight, of which bulk work leaves an eighth to those awaited."""

    def __init__(self, concurrency: int) -> None:
        self._all = asyncio.Semaphore(concurrency)
        self._bulk = asyncio.Semaphore(max(1, concurrency - -(-concurrency // 8)))

    @asynccontextmanager
    async def one(self, *, is_awaited: bool) -> AsyncIterator[None]:
        async with AsyncExitStack() as held:
            for slot in (self._all,) if is_awaited else (self._bulk, self._all):
                await held.enter_async_context(slot)
            yield


class Unlimited:
    """No limits but the process's slots, and the pauses that the server asks for."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._until = 0.0
        self._untold = 0

    @asynccontextmanager
    async def request(self, tokens: int, *, is_awaited: bool) -> AsyncIterator[Permit]:  # noqa: ARG002
        async with self._slots.one(is_awaited=is_awaited):
            while (left_s := self._until - time.monotonic()) > 0:  # noqa: ASYNC110  it may be put off meanwhile
                await asyncio.sleep(left_s)
            yield _Unsettled()

    async def paused(self, seconds: float) -> None:
        now = time.monotonic()
        if not seconds:
            if now < self._until:  # of several requests in flight that were all refused, the first has noted it
                return
            most = min(LONGEST_UNTOLD_PAUSE_S, UNTOLD_PAUSE_S * 2**self._untold)
            seconds = random.uniform(most / 2, most)  # noqa: S311  a pause is no secret
            self._untold += 1
        self._until = max(self._until, now + seconds)

    def overloaded(self) -> None:
        """There is nothing to make fewer."""

    def went_well(self) -> None:
        self._untold = 0

    async def close(self) -> None:
        """There is nothing to hang up on."""


class _Unsettled:
    def settle(self, headers: Mapping[str, str], tokens: int) -> None:
        """Nobody counts."""
