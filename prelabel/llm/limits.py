"""Who may ask an LLM's server next: slots in flight, a budget a minute and pauses, in one queue per process and key.

Those who are awaited go first, the others in order of arrival. Only the head of the queue asks the budget for a turn,
so a process holds one turn at most, and it is given to the most urgent of its callers when it comes.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from prelabel.core.rates import LONGEST_PAUSE_S, Noted, Rates
from prelabel.llm.budget import Budget
from prelabel.llm.concurrency import Concurrency
from prelabel.llm.rate_headers import read_limits

PATIENCE_S = {False: 0.25, True: 2.0}
"""How far ahead a turn may be booked; those who are awaited farther, and so before other processes' bulk work."""
ASKED_AGAIN_S = 1.0
"""At the latest, since a limit may have been learned or raised."""
FIRST_AT_ONCE = 4
"""Requests in flight until a server has been heard for the first time: their answers tell how many there may be."""
FIRST_HEARD_S = 0.5
"""How long that is waited for: slow answers are no reason to be slow."""
TOLD_AGAIN_S = 10.0
"""What a server says of its limits is passed on when it changes, and else so often."""
_FIRST_PAUSE_S, _LAST_PAUSE_S = 1.0, 30.0
"""Where a 429 names no time: from queues that are full for a second to windows of a minute."""


@dataclass(slots=True, eq=False)
class _Caller:
    tokens: int
    is_awaited: bool
    turn: asyncio.Future[int]
    """The request's number, once it may go."""


class KeyLimits:
    """What one key of one server allows, kept by all processes together as far as ``budget`` does; used on one loop.

    The :class:`prelabel.llm.chat.Limits` of production.

    :param concurrency: most requests in flight, in this process.
    """

    def __init__(self, concurrency: int, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots = Concurrency(concurrency)
        self._budget = budget
        self._clock = clock
        self._waiting: dict[bool, deque[_Caller]] = {True: deque(), False: deque()}
        self._changed = asyncio.Event()
        self._awaited_came = asyncio.Event()
        self._background: dict[str, asyncio.Task[None]] = {}
        self._noted = Noted()
        self._told: tuple[Rates, float] = (Rates(), float("-inf"))
        self._is_known = False
        self._first_at = float("inf")
        self._paused_until = float("-inf")
        self._next_pause_s = _FIRST_PAUSE_S

    @asynccontextmanager
    async def request(self, tokens: int, *, is_awaited: bool) -> AsyncIterator["_Permit"]:
        """Waits until one more request of about so many tokens may be in flight."""
        number = await self._turn(_Caller(tokens, is_awaited, asyncio.get_running_loop().create_future()))
        try:
            yield _Permit(self, tokens)
        finally:
            self._end(number)

    async def paused(self, seconds: float) -> None:
        """The server has answered 429: every caller of this key waits.

        :param seconds: that it named; 0 for none, then growing from second to second while nothing goes well.
        """
        if seconds <= 0:
            if self._clock() < self._paused_until:
                return  # of what was in flight when the pause began
            seconds = self._next_pause_s * random.uniform(1, 1.25)  # noqa: S311  no secret
            self._next_pause_s = min(2 * self._next_pause_s, _LAST_PAUSE_S)
        seconds = min(seconds, LONGEST_PAUSE_S)
        self._pause(seconds)
        await self._budget.pause(seconds)

    def overloaded(self) -> None:
        self._is_known = True
        self._slots.overloaded()

    def went_well(self) -> None:
        self._next_pause_s = max(_FIRST_PAUSE_S, 0.9 * self._next_pause_s)
        self._slots.went_well()
        self._changed.set()

    async def close(self) -> None:
        """Hang up; who still waits is cancelled."""
        for caller in (*self._waiting[True], *self._waiting[False]):
            caller.turn.cancel()
        for task in self._background.values():
            task.cancel()
        await asyncio.gather(*self._background.values(), return_exceptions=True)
        await self._budget.close()

    def settle(self, headers: Mapping[str, str], estimated: int, tokens: int) -> None:
        heard = read_limits(headers)
        self._is_known = True
        self._changed.set()
        if heard.pause_s:
            self._pause(heard.pause_s)
        rates, told_at = self._told
        news = heard.rates if heard.rates != rates or self._clock() - told_at > TOLD_AGAIN_S else Rates()
        if news or heard.pause_s or tokens != estimated or told_at < 0:
            self._told = (heard.rates, self._clock())
            self._note(Noted(0, tokens - estimated, news, heard.pause_s))

    async def _turn(self, caller: _Caller) -> int:
        self._waiting[caller.is_awaited].append(caller)
        self._changed.set()
        if caller.is_awaited:
            self._awaited_came.set()
        self._run(self._give_turns)
        try:
            return await caller.turn
        except asyncio.CancelledError:
            if caller.turn.done() and not caller.turn.cancelled() and not caller.turn.exception():
                self._end(caller.turn.result())
                self._note(Noted(-1, -caller.tokens))
            raise

    def _end(self, number: int) -> None:
        self._slots.end(number)
        self._changed.set()

    def _pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def _head(self) -> _Caller | None:
        """Who goes next; None while nobody may."""
        has_room = self._is_known or len(self._slots.in_flight) < FIRST_AT_ONCE or self._is_slow()
        for is_awaited, callers in self._waiting.items():
            while callers and callers[0].turn.done():
                callers.popleft()  # cancelled
            if callers and has_room and self._slots.has_room(is_awaited=is_awaited):
                return callers[0]
        return None

    async def _give_turns(self) -> None:
        """Until nobody waits."""
        while any(self._waiting.values()):
            self._changed.clear()
            if (head := self._head()) is None:
                if any(self._waiting.values()):
                    await self._change()
                continue
            self._awaited_came.clear()
            turn = await self._budget.take(head.tokens, PATIENCE_S[head.is_awaited])
            self._is_known |= turn.is_known
            if turn.is_granted:
                await self._grant(head.tokens, turn.wait_s)
            else:
                await self._nap(min(ASKED_AGAIN_S, turn.wait_s - PATIENCE_S[head.is_awaited] + 0.001))

    def _is_slow(self) -> bool:
        """Whether the first request has been under way for a while, unanswered."""
        return self._clock() - self._first_at >= FIRST_HEARD_S

    async def _change(self) -> None:
        """Until something may have changed for those who wait."""
        may_come_of_itself = not self._is_known and not self._is_slow()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), FIRST_HEARD_S if may_come_of_itself else None)

    async def _grant(self, tokens: int, wait_s: float) -> None:
        """Give the turn that is there in ``wait_s`` seconds to whoever is the head by then."""
        due = self._clock() + wait_s
        while (left_s := max(due, self._paused_until) - self._clock()) > 0:  # noqa: ASYNC110  a time that may move
            await asyncio.sleep(left_s)
        if (head := self._head()) is None:
            self._note(Noted(-1, -tokens))
            return
        self._waiting[head.is_awaited].popleft()
        self._first_at = min(self._first_at, self._clock())
        head.turn.set_result(self._slots.begin(is_awaited=head.is_awaited))
        if head.tokens != tokens:
            self._note(Noted(0, head.tokens - tokens))

    async def _nap(self, seconds: float) -> None:
        """Until then, or until somebody comes who may book farther ahead."""
        try:
            async with asyncio.timeout(seconds):
                await self._awaited_came.wait()
        except TimeoutError:
            return

    def _note(self, noted: Noted) -> None:
        self._noted += noted
        self._run(self._send_notes)

    async def _send_notes(self) -> None:
        """What comes up while some of it is on its way goes together."""
        while self._noted != Noted():
            noted, self._noted = self._noted, Noted()
            await self._budget.note(noted)

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have ``work`` done in the background, if it is not under way."""
        task = self._background.get(work.__name__)
        if task is None or task.done():
            self._background[work.__name__] = task = asyncio.create_task(work())
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Nobody waits for what will not come: a bug is raised where a turn is waited for."""
        error = None if task.cancelled() else task.exception()
        for callers in self._waiting.values() if error else ():
            for caller in callers:
                if error and not caller.turn.done():
                    caller.turn.set_exception(error)


class _Permit:
    def __init__(self, limits: KeyLimits, tokens: int) -> None:
        self._limits = limits
        self._tokens = tokens

    def settle(self, headers: Mapping[str, str], tokens: int) -> None:
        self._limits.settle(headers, self._tokens, tokens)
        self._tokens = tokens
