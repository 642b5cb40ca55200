"""What one process passes on to the budget of a key: what requests have cost in the end, and what the server says.

Nobody waits for it: it goes in the background, together with what comes up while some is under way.
"""

from collections.abc import Callable

from prelabel.core.rates import Noted, Rates
from prelabel.llm.budget import Budget
from prelabel.llm.chore import Chore, Failed
from prelabel.llm.rate_headers import Heard

TOLD_AGAIN_S = 10.0
"""What a server says of its limits is passed on when it changes, and else so often."""


class Notes:
    """
    :param told: is called when the budget has been told what the server says.
    :param failed: is told of a bug in the budget.
    """

    def __init__(self, budget: Budget, clock: Callable[[], float], told: Callable[[], None], failed: Failed) -> None:
        self._budget = budget
        self._clock = clock
        self._tell = told
        self._chore = Chore(self._send, failed)
        self._unsent: Noted | None = None
        self._is_news = False
        self._heard: Rates | None = None
        self._heard_at = float("-inf")

    def heard(self, heard: Heard, more_tokens: int) -> None:
        """A request was answered.

        :param more_tokens: that it cost than it had been granted, below 0 for less.
        """
        is_news = heard.rates != self._heard or self._clock() - self._heard_at > TOLD_AGAIN_S
        if is_news:
            self._heard, self._heard_at = heard.rates, self._clock()
            self._is_news = True
        if is_news or heard.pause_s or more_tokens:
            self._add(Noted(0, more_tokens, heard.rates if is_news else Rates(), heard.pause_s))

    def given_back(self, tokens: int) -> None:
        """A turn for so many tokens was not used."""
        self._add(Noted(-1, -tokens))

    def cost(self, more_tokens: int) -> None:
        """A turn was used by a request of so many tokens more."""
        if more_tokens:
            self._add(Noted(0, more_tokens))

    async def close(self) -> None:
        """What was not passed on yet is lost, which leaves the others no more than a little too careful."""
        await self._chore.end()

    def _add(self, noted: Noted) -> None:
        self._unsent = noted if self._unsent is None else self._unsent + noted
        self._chore.wake()

    async def _send(self) -> None:
        while self._unsent is not None:
            noted, self._unsent = self._unsent, None
            is_news, self._is_news = self._is_news, False
            await self._budget.note(noted)
            if is_news:
                self._tell()
