"""Those who watch what is asked: who is told outcomes as they come, and who admits requests."""

import asyncio
from collections.abc import Mapping

import pytest

from prelabel.asking.ask import Admission, ask
from prelabel.asking.requests import Assignment, Told
from prelabel.core.types import Failed, Outcome, Ticket
from prelabel.errors import LLMUnavailable
from prelabel.llm.exchange import ChatRequest
from tests.fakes.chat import HANG, FakeChat
from tests.unit.asking import INTENT, LABELED, PATIENCE_S


def test_outcomes_are_told_once_as_they_come_by_their_tickets_places() -> None:
    chat = FakeChat({"1": LLMUnavailable("answered 503"), "2": {"label": "none"}})
    told = [Told(Ticket(number, text)) for number, text in enumerate(["0", "1", "2", "0"])]
    heard: list[Mapping[int, Outcome]] = []

    outcomes = asyncio.run(
        ask(chat, Assignment((INTENT,), tasks_per_request=1), told, PATIENCE_S, on_settled=heard.append)
    )

    assert {place: outcome for each in heard for place, outcome in each.items()} == dict(enumerate(outcomes))
    assert sum(map(len, heard)) == 4


def test_who_is_told_outcomes_can_end_the_asking() -> None:
    chat = FakeChat({"1": HANG})
    told = [Told(Ticket(number, str(number))) for number in range(2)]

    def lost(_: Mapping[int, Outcome]) -> None:
        raise KeyError("somebody else is at it")

    with pytest.raises(KeyError, match="somebody else"):
        asyncio.run(ask(chat, Assignment((INTENT,), tasks_per_request=1), told, PATIENCE_S, on_settled=lost))


@pytest.mark.parametrize(("refusal", "is_late"), [("stop", True), ("no", False)])
def test_no_request_is_sent_that_is_not_admitted(refusal: Admission, is_late: bool) -> None:
    chat = FakeChat()
    ended: list[tuple[ChatRequest, int]] = []

    class Two:
        def admits(self, request: ChatRequest) -> Admission:
            return "yes" if len(chat.requests) < 2 else refusal

        def ended(self, request: ChatRequest, lost: int) -> None:
            ended.append((request, lost))

    told = [Told(Ticket(number, str(number))) for number in range(6)]
    assignment = Assignment((INTENT,), tasks_per_request=2)

    outcomes = asyncio.run(ask(chat, assignment, told, PATIENCE_S, gate=Two(), at_once=1))

    assert outcomes[:4] == [LABELED] * 4
    assert [isinstance(outcome, Failed) and outcome.is_late for outcome in outcomes[4:]] == [is_late] * 2
    assert chat.asked == [["0", "1"], ["2", "3"]]
    assert ended == [(request, 0) for request in chat.requests]


def test_a_request_that_may_be_sent_later_is_sent_then_and_what_was_spent_is_told_before() -> None:
    chat = FakeChat()
    said: list[Admission] = ["yes", "later", "yes"]
    heard: list[set[int]] = []

    class InTurn:
        def admits(self, request: ChatRequest) -> Admission:
            return said.pop(0)

        def ended(self, request: ChatRequest, lost: int) -> None:
            """Of no concern here."""

    told = [Told(Ticket(number, str(number))) for number in range(2)]
    assignment = Assignment((INTENT,), tasks_per_request=1)

    outcomes = asyncio.run(
        ask(
            chat,
            assignment,
            told,
            PATIENCE_S,
            gate=InTurn(),
            at_once=1,
            on_settled=lambda settled: heard.append(set(settled)),
        )
    )

    assert (outcomes, said) == ([LABELED] * 2, [])
    assert heard == [{0}, set(), {1}]
