"""Who may ask next, on a loop where a minute takes no time."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.rates import Noted, Rates, Turn
from prelabel.llm.budget import OwnBudget
from prelabel.llm.limits import FIRST_AT_ONCE, FIRST_HEARD_S, KeyLimits
from tests.fakes.virtual_time import Clock, run

UNKNOWN = Rates()


class Recorded(OwnBudget):
    """A budget that remembers what it was told."""

    def __init__(self, rates: Rates, clock: Clock) -> None:
        super().__init__(rates, clock)
        self.noted: list[Noted] = []
        self.turns = 0

    async def take(self, tokens: int, patience_s: float) -> Turn:
        self.turns += 1
        return await super().take(tokens, patience_s)

    async def note(self, noted: Noted) -> None:
        self.noted.append(noted)
        await super().note(noted)


class Server:
    """A server behind limits: callers by name, and when each request began and ended.

    :param rates: what the settings say.
    :param latency_s: until it answers, with ``headers``.
    """

    def __init__(
        self,
        clock: Clock,
        rates: Rates = UNKNOWN,
        concurrency: int = 32,
        latency_s: float = 0.1,
        headers: Mapping[str, str] = {},
    ) -> None:
        self.clock = clock
        self.budget = Recorded(rates, clock)
        self.limits = KeyLimits(concurrency, self.budget, clock)
        self.latency_s = latency_s
        self.headers = headers
        self.began: dict[str, float] = {}
        self.in_flight = self.most_in_flight = 0
        self._started_at = clock()

    async def ask(self, name: str, *, is_awaited: bool = False, tokens: int = 100) -> None:
        async with self._request(name, tokens, is_awaited=is_awaited) as permit:
            await asyncio.sleep(self.latency_s)
            permit.settle(self.headers, tokens)
            self.limits.went_well()

    async def refuse(self, name: str, seconds: float) -> None:
        """A request that is answered 429."""
        async with self._request(name, 0, is_awaited=False) as permit:
            await asyncio.sleep(self.latency_s)
            permit.settle({}, 0)
            await self.limits.paused(seconds)
            self.limits.overloaded()

    async def known(self) -> None:
        """Asked once, so that it has been heard, and long ago."""
        await self.ask("first")
        await asyncio.sleep(10)
        self._started_at = self.clock()
        del self.began["first"]

    def begin(self, *names: str, is_awaited: bool = False) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self.ask(name, is_awaited=is_awaited)) for name in names]

    @asynccontextmanager
    async def _request(self, name: str, tokens: int, *, is_awaited: bool) -> AsyncIterator[Any]:
        async with self.limits.request(tokens, is_awaited=is_awaited) as permit:
            self.began[name] = self.clock() - self._started_at
            self.in_flight += 1
            self.most_in_flight = max(self.in_flight, self.most_in_flight)
            try:
                yield permit
            finally:
                self.in_flight -= 1


def names(count: int) -> list[str]:
    return [str(number) for number in range(count)]


async def all_of(*work: Coroutine[Any, Any, None] | asyncio.Task[None]) -> None:
    await asyncio.gather(*work)


@pytest.mark.parametrize(("rates", "turns"), [(UNKNOWN, 1), (Rates(requests=100_000), 20)])
def test_without_a_limit_one_turn_serves_all_who_have_a_slot(rates: Rates, turns: int) -> None:
    async def ask(clock: Clock) -> tuple[int, int]:
        server = Server(clock, rates)
        await server.known()
        before = server.budget.turns
        await all_of(*server.begin(*names(20)))
        return server.budget.turns - before, server.most_in_flight

    assert run(ask) == (turns, 20)


def test_those_who_are_awaited_go_first_and_the_others_in_the_order_in_which_they_came() -> None:
    async def ask(clock: Clock) -> list[str]:
        server = Server(clock, concurrency=1)
        bulk = server.begin("a", "b", "c")
        await asyncio.sleep(0.05)
        await all_of(*bulk, *server.begin("x", "y", is_awaited=True))
        return list(server.began)

    assert run(ask) == ["a", "x", "y", "b", "c"]


def test_who_is_awaited_takes_the_turn_that_bulk_work_has_booked() -> None:
    async def ask(clock: Clock) -> dict[str, float]:
        server = Server(clock, Rates(6))
        bulk = server.begin("a", "b", "c")
        await asyncio.sleep(5)
        await all_of(*bulk, *server.begin("x", is_awaited=True))
        return server.began

    began = run(ask)
    assert list(began) == ["a", "x", "b", "c"]
    assert began["x"] < 10.4


def test_until_a_server_is_heard_a_few_go_and_then_all() -> None:
    async def ask(clock: Clock) -> list[float]:
        server = Server(clock, latency_s=0.2)
        await all_of(*server.begin(*names(20)))
        return list(server.began.values())

    began = run(ask)
    assert began[:FIRST_AT_ONCE] == [0.0] * FIRST_AT_ONCE
    assert began[FIRST_AT_ONCE:] == pytest.approx([0.2] * (20 - FIRST_AT_ONCE))


@pytest.mark.parametrize("came_at", [0.0, 0.3, 0.49])
def test_a_slow_first_answer_holds_nobody_back_for_long(came_at: float) -> None:
    async def ask(clock: Clock) -> float:
        server = Server(clock, latency_s=15)
        first = server.begin(*names(FIRST_AT_ONCE))
        await asyncio.sleep(came_at)
        await all_of(*first, *server.begin("late"))
        return server.began["late"]

    assert run(ask) == pytest.approx(FIRST_HEARD_S, abs=0.01)


def test_a_limit_in_the_first_answers_headers_is_kept_to() -> None:
    async def ask(clock: Clock) -> int:
        server = Server(clock, headers={"x-ratelimit-limit-requests": "60"})
        tasks = server.begin(*names(200))
        await asyncio.sleep(60)
        count = len(server.began)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return count

    assert 57 <= run(ask) <= 60 + FIRST_AT_ONCE


@pytest.mark.parametrize("rpm", [30, 600, 1200])
def test_over_minutes_almost_all_of_a_limit_is_used_and_no_more(rpm: int) -> None:
    async def ask(clock: Clock) -> list[float]:
        server = Server(clock, Rates(rpm), concurrency=200, latency_s=1.0)
        await all_of(*server.begin(*names(2 * rpm)))
        return sorted(server.began.values())

    began = run(ask)
    assert all(later - earlier > 60 for earlier, later in zip(began, began[rpm:], strict=False))
    assert began[-1] < 120 / 0.95


def test_tokens_that_were_not_used_are_given_back() -> None:
    async def ask(clock: Clock) -> float:
        server = Server(clock, Rates(0, 6000))
        await all_of(*(reckoned_too_high(server, name) for name in names(20)))
        return server.began["19"]

    async def reckoned_too_high(server: Server, name: str) -> None:
        async with server._request(name, 1000, is_awaited=False) as permit:
            permit.settle({}, 100)

    assert run(ask) < 40  # by what was reckoned it would be two hundred


@pytest.mark.parametrize(("named_s", "least_s", "most_s"), [(7, 7, 7.2), (0.15, 0.15, 0.4), (0, 1, 1.5)])
def test_a_429_holds_everybody_as_long_as_it_names(named_s: float, least_s: float, most_s: float) -> None:
    async def ask(clock: Clock) -> dict[str, float]:
        server = Server(clock)
        await server.known()
        await server.refuse("refused", named_s)
        await all_of(*server.begin("a", "b"), *server.begin("x", is_awaited=True))
        return server.began

    began = run(ask)
    assert all(least_s <= began[name] - 0.1 <= most_s for name in "abx")


def test_refusals_of_what_was_in_flight_then_make_no_pause_longer() -> None:
    async def ask(clock: Clock) -> float:
        server = Server(clock)
        await server.known()
        await all_of(*(server.refuse(name, 0) for name in names(20)))
        await server.ask("after")
        return server.began["after"]

    assert run(ask) < 1.5


def test_a_server_that_keeps_refusing_without_a_time_is_asked_less_and_less() -> None:
    async def ask(clock: Clock) -> list[float]:
        server = Server(clock, latency_s=0)
        await server.known()
        for name in names(8):
            await server.refuse(name, 0)
        return list(server.began.values())

    began = run(ask)
    pauses = [later - earlier for earlier, later in pairwise(began)]
    assert all(2**n <= pause <= 1.26 * 2**n for n, pause in enumerate(pauses[:5]))
    assert all(30 <= pause <= 38 for pause in pauses[5:])


def test_overload_halves_what_is_in_flight_and_success_brings_it_back() -> None:
    async def ask(clock: Clock) -> tuple[int, int]:
        server = Server(clock, concurrency=16)
        await server.known()
        await server.refuse("refused", 0.001)
        server.most_in_flight = 0
        await all_of(*server.begin(*names(8), is_awaited=True), *server.begin("b", "c", is_awaited=True))
        halved = server.most_in_flight
        for _ in range(15):
            await all_of(*server.begin(*names(16), is_awaited=True))
        return halved, server.most_in_flight

    assert run(ask) == (8, 16)


def test_who_gave_up_waiting_holds_nobody_back() -> None:
    async def ask(clock: Clock) -> dict[str, float]:
        server = Server(clock, Rates(6))
        tasks = server.begin("a", "b", "c", "d")
        await asyncio.sleep(3)
        for task in tasks[1:3]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return server.began

    began = run(ask)
    assert list(began) == ["a", "d"]
    assert began["d"] < 10.4


def test_a_turn_that_came_as_its_caller_gave_up_is_given_back() -> None:
    async def ask(clock: Clock) -> tuple[list[str], list[Noted]]:
        server = Server(clock, concurrency=1)
        await server.known()
        async with server.limits.request(1, is_awaited=False):
            gone = asyncio.create_task(server.ask("gone"))
            await asyncio.sleep(1)
            [caller] = server.limits._callers()
        while not caller.turn.done():  # noqa: ASYNC110  the very step at which it is given
            await asyncio.sleep(0)  # a caller that has its turn goes on only afterwards
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        await server.ask("next")
        return list(server.began), server.budget.noted

    began, noted = run(ask)
    assert began == ["next"]
    assert Noted(-1, -100) in noted


def test_closing_sends_away_who_still_waits() -> None:
    async def ask(clock: Clock) -> list[bool]:
        server = Server(clock, Rates(1))
        tasks = server.begin("a", "b", "c")
        await asyncio.sleep(1)
        await server.limits.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        return [task.cancelled() for task in tasks]

    assert run(ask) == [False, True, True]


class Broken:
    async def take(self, tokens: int, patience_s: float) -> Turn:
        raise ZeroDivisionError

    async def note(self, noted: Noted) -> None:
        raise ZeroDivisionError

    async def pause(self, seconds: float) -> None: ...

    async def close(self) -> None: ...


def test_a_bug_in_the_budget_is_raised_to_those_who_wait(caplog: pytest.LogCaptureFixture) -> None:
    async def ask(clock: Clock) -> list[bool]:
        limits = KeyLimits(4, Broken(), clock)

        async def one() -> None:
            async with limits.request(1, is_awaited=False):
                pass

        found = await asyncio.gather(one(), one(), return_exceptions=True)
        return [isinstance(each, ZeroDivisionError) for each in found]

    assert run(ask) == [True, True]
    assert "the LLM's limits cannot be kept" in caplog.text


@given(
    st.integers(1, 6),
    st.sampled_from([Rates(), Rates(30), Rates(0, 3000), Rates(600)]),
    st.lists(st.tuples(st.sampled_from(["bulk", "awaited", "429", "cancel"]), st.floats(0, 3)), max_size=25),
)
def test_whatever_happens_everybody_is_served_in_the_end(
    concurrency: int, rates: Rates, events: list[tuple[str, float]]
) -> None:
    async def ask(clock: Clock) -> tuple[int, int]:
        server = Server(clock, rates, concurrency)
        tasks: list[asyncio.Task[None]] = []
        for number, (event, pause_s) in enumerate(events):
            if event == "cancel":
                for task in tasks[-2:]:
                    task.cancel()
            elif event == "429":
                tasks.append(asyncio.create_task(server.refuse(str(number), pause_s)))
            else:
                tasks += server.begin(str(number), is_awaited=event == "awaited")
            await asyncio.sleep(pause_s / 10)
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.ask("last")
        return server.most_in_flight, len(server.limits._slots.in_flight)

    most, left = run(ask)
    assert (most <= concurrency, left) == (True, 0)
