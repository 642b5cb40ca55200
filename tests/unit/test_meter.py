"""What is counted of requests to LLMs, by how each ends, and of the pauses that servers ask for."""

import asyncio
from contextlib import nullcontext, suppress

import pytest

from prelabel.core.rates import Rates
from prelabel.errors import LLMUnavailable
from prelabel.llm.budget import OwnBudget
from prelabel.llm.exchange import ChatReply
from prelabel.llm.limits import KeyLimits
from prelabel.llm.meter import Result, metered
from prelabel.llm.refusals import Refusal, Refused


class Recorded:
    """A meter that remembers what it was told."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.results: list[Result] = []
        self.pauses: list[tuple[float, bool]] = []

    def begun(self) -> None:
        self.in_flight += 1

    def ended(self, result: Result, seconds: float) -> None:
        assert 0 <= seconds < 5
        self.in_flight -= 1
        self.results.append(result)

    def answered(self, reply: ChatReply) -> None:
        """Not looked at."""

    def paused(self, more_s: float, *, is_new: bool) -> None:
        self.pauses.append((more_s, is_new))


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (None, "ok"),
        (Refused(Refusal(400, "bad_request")), "refused"),
        (Refused(Refusal(401)), "refused"),
        (Refused(Refusal(429)), "rate_limited"),
        (Refused(Refusal(429, "insufficient_quota")), "refused"),
        (Refused(Refusal(503)), "unavailable"),
        (LLMUnavailable("the LLM's server cannot be reached"), "unavailable"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_a_request_is_counted_once_by_how_it_ended(error: BaseException | None, result: Result) -> None:
    meter = Recorded()

    with suppress(type(error)) if error else nullcontext(), metered(meter, "gpt-4o-mini"):
        assert meter.in_flight == 1
        if error:
            raise error

    assert (meter.results, meter.in_flight) == ([result], 0)


async def pausing(meter: Recorded) -> None:
    now = 100.0
    limits = KeyLimits(4, OwnBudget(Rates(), lambda: now), lambda: now, meter=meter)
    await limits.paused(10.0)
    now += 4
    await limits.paused(10.0)
    await limits.paused(3.0)
    now += 20
    await limits.paused(2.0)
    await limits.close()


def test_a_pause_that_is_prolonged_is_one_pause() -> None:
    meter = Recorded()

    asyncio.run(pausing(meter))

    assert meter.pauses == [(10.0, True), (4.0, False), (2.0, True)]
