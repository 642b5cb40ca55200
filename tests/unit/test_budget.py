"""What a process that keeps the budget on its own lets through, by a clock that only moves when it is told."""

import asyncio
import logging

import pytest

from prelabel.core.rates import Noted, Rates, Turn
from prelabel.errors import StoreUnavailable
from prelabel.llm.budget import OwnBudget, SharedBudget


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Simulated:
    """An :class:`OwnBudget` that somebody asks for turns as fast as it gives them."""

    def __init__(self, rates: Rates = Rates()) -> None:  # noqa: B008  a frozen value
        self.clock = Clock()
        self.budget = OwnBudget(rates, self.clock)

    def take(self, tokens: int = 0, patience_s: float = 0.0) -> Turn:
        return asyncio.run(self.budget.take(tokens, patience_s))

    def note(self, requests: float = 0, tokens: float = 0, learned: Rates = Rates(), pause_s: float = 0) -> None:  # noqa: B008
        asyncio.run(self.budget.note(Noted(requests, tokens, learned, pause_s)))

    def granted_within(self, seconds: float, tokens: int = 0) -> list[float]:
        """When turns were given, from now."""
        began, given = self.clock.now, []
        while (turn := self.take(tokens)).is_granted or turn.wait_s:
            if turn.is_granted:
                given.append(self.clock.now - began)
            elif self.clock.now + turn.wait_s >= began + seconds:
                break
            self.clock.now += turn.wait_s * (1 + 1e-12)
        return given


@pytest.mark.parametrize("limit", [1, 3, 20, 59, 60, 61, 600, 5000])
def test_no_minute_has_more_than_the_limit_and_almost_all_of_it_is_used(limit: int) -> None:
    given = Simulated(Rates(limit)).granted_within(180)

    for start in given:
        assert sum(start <= at < start + 60 for at in given) <= limit
    assert len(given) >= 0.95 * 3 * limit - 1


def test_turns_are_spread_over_the_minute() -> None:
    given = Simulated(Rates(600)).granted_within(60)

    for second in range(1, 59):
        assert 9 <= sum(second <= at < second + 1 for at in given) <= 11


def test_a_second_s_share_is_saved_up_and_no_more() -> None:
    simulated = Simulated(Rates(600))
    simulated.clock.now += 3600

    assert sum(at == 0 for at in simulated.granted_within(1)) == 10


def test_tokens_are_paced_by_what_each_request_costs() -> None:
    assert 11 <= len(Simulated(Rates(0, 60_000)).granted_within(60, tokens=5000)) <= 12


def test_a_request_that_costs_more_than_a_minute_goes_and_is_paid_for_afterwards() -> None:
    simulated = Simulated(Rates(0, 1000))

    assert simulated.take(5000).is_granted
    assert simulated.take(1).wait_s == pytest.approx(5 / 0.97 * 60 - 1)


def test_the_tighter_of_the_two_holds() -> None:
    assert len(Simulated(Rates(600, 60_000)).granted_within(60, tokens=1000)) <= 60


def test_what_a_request_cost_less_than_estimated_is_given_back() -> None:
    simulated = Simulated(Rates(0, 6000))
    simulated.take(3000)
    before = simulated.take(1).wait_s

    simulated.note(tokens=-2000)

    assert before - simulated.take(1).wait_s == pytest.approx(2000 / 97)


def test_a_turn_is_booked_as_far_ahead_as_one_is_patient() -> None:
    simulated = Simulated(Rates(60))
    simulated.granted_within(0.1)

    assert [simulated.take(patience_s=0.5).is_granted, simulated.take(patience_s=2).is_granted] == [False, True]


def test_nothing_is_known_until_something_was_heard() -> None:
    simulated = Simulated()

    known = [simulated.take().is_known]
    simulated.note()
    known.append(simulated.take().is_known)

    assert known == [False, True]


def test_a_limit_that_is_learned_is_kept_to_and_a_setting_wins_over_it() -> None:
    learning, told = Simulated(), Simulated(Rates(600))
    for simulated in (learning, told):
        simulated.note(learned=Rates(60))

    assert (len(learning.granted_within(60)) <= 60, len(told.granted_within(60)) > 500) == (True, True)


def test_of_limits_that_differ_the_lower_holds_until_it_is_no_longer_heard() -> None:
    simulated = Simulated()
    simulated.note(learned=Rates(60))
    simulated.note(learned=Rates(600))
    first = len(simulated.granted_within(60))
    simulated.clock.now += 601
    simulated.note(learned=Rates(600))

    assert (first <= 60, len(simulated.granted_within(60)) > 500) == (True, True)


def test_a_pause_holds_everybody_and_a_shorter_one_does_not_end_it() -> None:
    simulated = Simulated()
    asyncio.run(simulated.budget.pause(20))
    simulated.note(pause_s=5)

    assert simulated.take() == Turn(is_granted=False, wait_s=20, is_limited=False)


def test_no_pause_is_longer_than_ten_minutes() -> None:
    simulated = Simulated()
    asyncio.run(simulated.budget.pause(86_400))

    assert simulated.take().wait_s == 600


class Away:
    """A store that does not answer, or does again."""

    is_away = True

    def __init__(self) -> None:
        self.noted: list[Noted] = []

    async def take(self, tokens: int, patience_s: float) -> Turn:
        self._answer()
        return Turn(is_granted=True, processes=4)

    async def note(self, noted: Noted) -> None:
        self._answer()
        self.noted.append(noted)

    async def pause(self, seconds: float) -> None:
        self._answer()

    async def close(self) -> None: ...

    def _answer(self) -> None:
        if self.is_away:
            raise StoreUnavailable("Redis does not answer")


def test_without_the_store_each_process_keeps_to_its_share_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    own, store = Simulated(Rates(600)), Away()
    shared = SharedBudget(store, own.budget, processes=3)

    async def many() -> int:
        await shared.note(Noted(learned=Rates(1)))
        return sum([(await shared.take(0, 10)).is_granted for _ in range(100)])

    with caplog.at_level(logging.WARNING):
        granted = asyncio.run(many())

    assert 33 <= granted <= 37  # a third of the eleven seconds' 107
    assert [record.getMessage() for record in caplog.records] == [
        "Redis does not answer; until it is back, this process keeps to 1/3 of the LLM's limits"
    ]


def test_without_the_store_a_pause_holds_this_process(caplog: pytest.LogCaptureFixture) -> None:
    own, store = Simulated(), Away()
    shared = SharedBudget(store, own.budget, processes=3)

    async def pause() -> Turn:
        await shared.pause(20)
        return await shared.take(0, 0)

    assert asyncio.run(pause()).wait_s == 20


def test_the_store_says_how_many_processes_there_are() -> None:
    own, store = Simulated(Rates(600)), Away()
    shared = SharedBudget(store, own.budget, processes=3)
    store.is_away = False

    asyncio.run(shared.take(0, 0))

    assert own.budget.share == 4


def test_what_was_used_of_the_shared_budget_is_not_charged_to_a_share_of_it() -> None:
    own, store = Simulated(Rates(0, 6000)), Away()
    shared = SharedBudget(store, own.budget, processes=1)

    async def ask() -> Turn:
        await shared.take(1, 0)
        store.is_away = False
        for _ in range(1000):
            await shared.take(1, 0)
            await shared.note(Noted(tokens=500))
        store.is_away = True
        return await shared.take(1, 0)

    assert asyncio.run(ask()).is_granted


def test_a_store_that_comes_back_is_told_again_what_the_server_says() -> None:
    own, store = Simulated(), Away()
    shared = SharedBudget(store, own.budget, processes=1)

    async def ask() -> None:
        await shared.note(Noted(learned=Rates(600)))
        await shared.take(1, 0)
        store.is_away = False
        for _ in range(2):
            await shared.take(1, 0)

    asyncio.run(ask())

    assert store.noted == [Noted(learned=Rates(600))]
