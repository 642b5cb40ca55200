"""Who may ask an LLM's server next: slots in flight, a budget a minute and pauses, in one queue per process and key.

Those who are awaited go first, the others in order of arrival. Only the head of the queue asks the budget for a turn,
so a process holds one turn at most, and it is given to the most urgent of its callers when it comes; where the budget
has no limit, one turn serves all who have a slot. What the budget must know of answers is passed on by ``notes``.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from prelabel.core.rates import LONGEST_PAUSE_S
from prelabel.llm.budget import Budget
from prelabel.llm.chore import Chore
from prelabel.llm.concurrency import Concurrency
from prelabel.llm.meter import Meter, NoMeter
from prelabel.llm.notes import Notes
from prelabel.llm.rate_headers import read_limits

log = logging.getLogger(__name__)

PATIENCE_S = {False: 0.25, True: 2.0}
"""How far ahead a turn may be booked; those who are awaited farther, and so before other processes' bulk work."""
ASKED_AGAIN_S = 1.0
"""At the latest, since a limit may have been learned or raised."""
FIRST_AT_ONCE = 4
"""Requests in flight until a server has been heard for the first time: their answers tell how many there may be."""
FIRST_HEARD_S = 0.5
"""How long that is waited for: slow answers are no reason to be slow."""
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
    :param meter: is told of pauses.
    :param is_awaited: whether anybody ever waits for a single answer of this process.
    """

    def __init__(
        self,
        concurrency: int,
        budget: Budget,
        clock: Callable[[], float] = time.monotonic,
        meter: Meter | None = None,
        *,
        is_awaited: bool = True,
    ) -> None:
        self._slots = Concurrency(concurrency, is_awaited=is_awaited)
        self._budget = budget
        self._clock = clock
        self._meter = meter or NoMeter()
        self._notes = Notes(budget, clock, self._told, self._failed)
        self._giving = Chore(self._give_turns, self._failed)
        self._waiting: dict[bool, deque[_Caller]] = {True: deque(), False: deque()}
        self._changed = asyncio.Event()
        self._awaited_came = asyncio.Event()
        self._is_known = False
        self._slow_at = float("inf")
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
        for caller in self._callers():
            caller.turn.cancel()
        await self._giving.end()
        await self._notes.close()
        await self._budget.close()

    def settle(self, headers: Mapping[str, str], estimated: int, tokens: int) -> None:
        heard = read_limits(headers)
        if heard.pause_s:
            self._pause(heard.pause_s)
        self._notes.heard(heard, tokens - estimated)

    async def _turn(self, caller: _Caller) -> int:
        self._waiting[caller.is_awaited].append(caller)
        self._changed.set()
        if caller.is_awaited:
            self._awaited_came.set()
        self._giving.wake()
        try:
            return await caller.turn
        except asyncio.CancelledError:
            if caller.turn.done() and not caller.turn.cancelled() and not caller.turn.exception():
                self._end(caller.turn.result())
                self._notes.given_back(caller.tokens)
            raise

    def _end(self, number: int) -> None:
        self._slots.end(number)
        self._changed.set()

    def _pause(self, seconds: float) -> None:
        now = self._clock()
        is_new = self._paused_until < now
        more_s = now + seconds - max(now, self._paused_until)
        if more_s > 0:
            self._paused_until = now + seconds
            self._meter.paused(more_s, is_new=is_new)

    def _callers(self) -> list[_Caller]:
        return [*self._waiting[True], *self._waiting[False]]

    def _head(self) -> _Caller | None:
        """Who goes next; None while nobody may."""
        has_room = self._is_known or len(self._slots.in_flight) < FIRST_AT_ONCE or self._clock() >= self._slow_at
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
                if not turn.is_limited and turn.wait_s <= 0:
                    self._grant_others()
            else:
                await self._nap(min(ASKED_AGAIN_S, turn.wait_s - PATIENCE_S[head.is_awaited] + 0.001))

    def _told(self) -> None:
        """The budget knows what the server says; turns that were taken before would not have kept to it."""
        self._is_known = True
        self._changed.set()

    async def _change(self) -> None:
        """Until something may have changed for those who wait, if only that the first answer is slow."""
        slow_in_s = self._slow_at - self._clock()
        may_come_of_itself = not self._is_known and 0 < slow_in_s < float("inf")
        with suppress(TimeoutError):
            async with asyncio.timeout(slow_in_s if may_come_of_itself else None):
                await self._changed.wait()

    async def _grant(self, tokens: int, wait_s: float) -> None:
        """Give the turn that is there in ``wait_s`` seconds to whoever is the head by then."""
        due = self._clock() + wait_s
        while (left_s := max(due, self._paused_until) - self._clock()) > 0:  # noqa: ASYNC110  a time that may move
            await asyncio.sleep(left_s)
        if (head := self._head()) is None:
            self._notes.given_back(tokens)
            return
        self._begin(head)
        self._notes.cost(head.tokens - tokens)

    def _grant_others(self) -> None:
        """There is no limit but the slots, so that nobody need be asked for each: many replies come at once."""
        while self._clock() >= self._paused_until and (head := self._head()):
            self._begin(head)

    def _begin(self, head: _Caller) -> None:
        self._waiting[head.is_awaited].popleft()
        self._slow_at = min(self._slow_at, self._clock() + FIRST_HEARD_S)
        head.turn.set_result(self._slots.begin(is_awaited=head.is_awaited))

    async def _nap(self, seconds: float) -> None:
        """Until then, or until somebody comes who may book farther ahead."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._awaited_came.wait()

    def _failed(self, error: BaseException) -> None:
        """A bug in the background is raised where turns are waited for, so that nobody waits for what will not come."""
        log.error("the LLM's limits cannot be kept", exc_info=error)
        for caller in self._callers():
            if not caller.turn.done():
                caller.turn.set_exception(error)


class _Permit:
    def __init__(self, limits: KeyLimits, tokens: int) -> None:
        self._limits = limits
        self._tokens = tokens

    def settle(self, headers: Mapping[str, str], tokens: int) -> None:
        self._limits.settle(headers, self._tokens, tokens)
        self._tokens = tokens
