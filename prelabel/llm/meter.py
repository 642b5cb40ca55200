"""What is counted of the requests to LLMs, as this package needs it counted: for whoever watches how they fare.

Calls are made on the loop for every request, so they must not block.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

from prelabel.errors import LLMBusy, LLMError, LLMUnavailable
from prelabel.llm.exchange import ChatReply
from prelabel.llm.refusals import Refused

Result = Literal["ok", "refused", "rate_limited", "unavailable", "cancelled"]


class Meter(Protocol):
    """Counts requests; each is begun once and ended once."""

    def begun(self) -> None:
        """A request is in flight."""

    def ended(self, result: Result, seconds: float) -> None:
        """It is no more.

        :param result: ``refused`` for good, ``rate_limited`` by a 429, ``unavailable`` where there was no answer or one
            that passes; ``cancelled``: nobody waits for it any longer.
        """

    def answered(self, reply: ChatReply) -> None:
        """What a request has used."""

    def paused(self, more_s: float, *, is_new: bool) -> None:
        """A key's server says that it is to be left alone.

        :param more_s: for so many seconds, or for so many more than it has said before.
        :param is_new: whether it was not paused before.
        """


class NoMeter:
    """For a process that nobody watches."""

    def begun(self) -> None:
        """Nothing is counted."""

    def ended(self, result: Result, seconds: float) -> None:
        """Nothing is counted."""

    def answered(self, reply: ChatReply) -> None:
        """Nothing is counted."""

    def paused(self, more_s: float, *, is_new: bool) -> None:
        """Nothing is counted."""


@contextmanager
def metered(meter: Meter, model: str) -> Iterator[None]:
    """Counts the block as one request, by how it ends.

    :param model: as the settings call it.
    """
    began = time.monotonic()
    result: Result = "cancelled"
    meter.begun()
    try:
        yield
        result = "ok"
    except Refused as refused:
        result = _result(refused.refusal.as_error(model))
        raise
    except LLMError as error:
        result = _result(error)
        raise
    finally:
        meter.ended(result, time.monotonic() - began)


def _result(error: LLMError) -> Result:
    if isinstance(error, LLMBusy):
        return "rate_limited"
    return "unavailable" if isinstance(error, LLMUnavailable) else "refused"
