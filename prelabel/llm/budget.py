"""The budget of a key, in requests and tokens a minute: what it is asked, and how a process keeps it on its own.

``prelabel.store.limits`` keeps it for all processes in Redis; while Redis is away each has an equal share.
"""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from prelabel.core.rates import BURST_S, CONFIRMED_S, LONGEST_PAUSE_S, MINUTE_S, USED_SHARE, Noted, Rates, Turn
from prelabel.errors import StoreUnavailable

log = logging.getLogger(__name__)


class Budget(Protocol):
    """What all who use a key may use together."""

    async def take(self, tokens: int, patience_s: float) -> Turn:
        """A turn for a request of about so many tokens, if there is one within ``patience_s`` seconds.

        :raises StoreUnavailable: nobody can tell.
        """

    async def note(self, noted: Noted) -> None:
        """:raises StoreUnavailable: it could not be kept."""

    async def pause(self, seconds: float) -> None:
        """The server has refused a request for want of budget: nobody gets a turn for so long, and then at a slower
        pace.

        :raises StoreUnavailable: it could not be kept.
        """

    async def close(self) -> None: ...


class OwnBudget:
    """A budget that one process keeps for itself.

    :param rates: from the settings; they win over what is learned.
    """

    def __init__(self, rates: Rates, clock: Callable[[], float] = time.monotonic) -> None:
        self.share = 1
        """The budget is for so many processes, of which this is one."""
        self.learned = Rates()
        """What the server has said; 0 where nothing is known."""
        self._settings = rates
        self._clock = clock
        self._confirmed_at = {"requests": float("-inf"), "tokens": float("-inf")}
        self._due = {"requests": float("-inf"), "tokens": float("-inf")}
        self._paused_until = float("-inf")
        self._has_heard = False

    async def take(self, tokens: int, patience_s: float) -> Turn:
        now = self._clock()
        costs = {"requests": 1, "tokens": tokens}
        due = {kind: max(self._due[kind], now - BURST_S) for kind, rate in self._a_second().items() if rate}
        wait_s = max(0.0, self._paused_until - now, *(at - now for at in due.values()))
        is_granted = wait_s <= patience_s
        if is_granted:
            self._due |= {kind: at + costs[kind] / self._a_second()[kind] for kind, at in due.items()}
        return Turn(is_granted, wait_s, self.share, self._has_heard or bool(due), is_limited=bool(due))

    async def note(self, noted: Noted) -> None:
        now = self._clock()
        self._has_heard = True
        self.learned = Rates(**{kind: self._tighter(kind, noted.learned, now) for kind in self._due})
        for kind, used in (("requests", noted.requests), ("tokens", noted.tokens)):
            if rate := self._a_second()[kind]:
                self._due[kind] += used / rate
        self._paused_until = max(self._paused_until, now + min(noted.pause_s, LONGEST_PAUSE_S))

    async def pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, self._clock() + min(seconds, LONGEST_PAUSE_S))

    async def close(self) -> None:
        """Nothing is open."""

    def _a_second(self) -> dict[str, float]:
        rates = self._settings.over(self.learned) / self.share
        return {"requests": rates.requests * USED_SHARE / MINUTE_S, "tokens": rates.tokens * USED_SHARE / MINUTE_S}

    def _tighter(self, kind: str, heard: Rates, now: float) -> float:
        known, new = getattr(self.learned, kind), getattr(heard, kind)
        if not new or (known and new > known and now - self._confirmed_at[kind] <= CONFIRMED_S):
            return float(known)
        self._confirmed_at[kind] = now
        return float(new)


class SharedBudget:
    """A budget that all processes keep together, and each on its own while the store is away.

    :param processes: how many there are, until it is known.
    """

    def __init__(self, shared: Budget, own: OwnBudget, processes: int) -> None:
        self._shared = shared
        self._own = own
        self._own.share = processes
        self._is_away = False

    async def take(self, tokens: int, patience_s: float) -> Turn:
        try:
            turn = await self._shared.take(tokens, patience_s)
        except StoreUnavailable as error:
            if not self._is_away:
                log.warning(
                    "%s; until it is back, this process keeps to 1/%d of the LLM's limits", error, self._own.share
                )
            self._is_away = True
            return await self._own.take(tokens, patience_s)
        self._own.share = turn.processes
        if self._is_away:
            self._is_away = False
            await self.note(Noted(learned=self._own.learned))  # it may have come back empty
        return turn

    async def note(self, noted: Noted) -> None:
        try:
            await self._shared.note(noted)
        except StoreUnavailable:  # ``take`` tells of it
            await self._own.note(noted)
        else:  # what was used was taken there
            await self._own.note(Noted(learned=noted.learned, pause_s=noted.pause_s))

    async def pause(self, seconds: float) -> None:
        await self._own.pause(seconds)
        try:
            await self._shared.pause(seconds)
        except StoreUnavailable:
            return  # ``take`` tells of it

    async def close(self) -> None:
        await self._shared.close()
