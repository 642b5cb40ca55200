"""Several answers to each ticket: what is asked, when a ticket is settled, and what counts where some never come."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from prelabel.asking.ask import Admission
from prelabel.asking.requests import Assignment, Measured, Told
from prelabel.asking.several import ask_several, sampling
from prelabel.config import Settings
from prelabel.core.types import Abstained, Failed, Labeled, Outcome, Ticket, Usage
from prelabel.errors import LLMError, LLMRefusesRequest, LLMUnavailable
from prelabel.llm.exchange import ChatReply, ChatRequest
from tests.fakes.chat import HANG, FakeChat, read_fence
from tests.unit.answers import said
from tests.unit.asking import INTENT, LABELED, NO_LABEL_NAMED, OTHER, PATIENCE_S, numbered

REFUND, OTHERWISE, NEITHER = ({"label": label, "confidence": 0.9} for label in ("1", "2", "none"))
LATE = "not reached within 0.05 s"

Says = LLMError | str | Mapping[str, Any]


class InTurns(FakeChat):
    """Says something else of a ticket each time that it is asked about."""

    def __init__(self, turns: Mapping[str, Sequence[Says]]) -> None:
        super().__init__()
        self._turns = {text: iter(says) for text, says in turns.items()}

    async def complete(self, request: ChatRequest) -> ChatReply:
        texts = [ticket["text"] for ticket in read_fence(request.messages)]
        chat = FakeChat({text: next(self._turns[text]) for text in texts if text in self._turns})
        self.requests.append(request)
        await asyncio.sleep(0)
        return await chat.complete(request)


def run(
    chat: FakeChat, texts: Sequence[str], responses: int, deadline_s: float = PATIENCE_S, **more: Any
) -> list[Outcome]:
    told = [Told(Ticket(number, text)) for number, text in enumerate(texts)]
    assignment = Assignment((INTENT,), tasks_per_request=more.pop("tasks_per_request", 10))
    return asyncio.run(ask_several(chat, assignment, told, deadline_s, responses=responses, **more))


def agreed(label: str, share: float) -> Labeled:
    return said({"intent": (label,)}, 0.9, agreement=share)


def test_the_labels_that_most_answers_give_count() -> None:
    chat = InTurns(
        {
            "a": [REFUND, OTHERWISE, REFUND, REFUND, REFUND],
            "b": [OTHERWISE, NEITHER, OTHERWISE, REFUND, OTHERWISE],
            "c": [NEITHER, NEITHER, OTHERWISE, NEITHER, REFUND],
        }
    )

    outcomes = run(chat, ["a", "b", "c"], 5)

    assert outcomes == [agreed("refund", 0.8), agreed("other", 0.6), Abstained("the LLM says that no label fits")]
    assert chat.asked == [["a", "b", "c"]] * 5


def test_one_answer_is_asked_for_as_ever() -> None:
    chat, usage = FakeChat({"b": {"label": "none"}}), Usage()

    outcomes = run(chat, ["a", "b"], 1, usage=usage)

    assert outcomes == [LABELED, Abstained("the LLM says that no label fits")]
    assert (len(chat.requests), usage.requests) == (1, 1)


def test_all_answers_are_asked_for_at_once() -> None:
    class AllAtOnce(FakeChat):
        def __init__(self) -> None:
            super().__init__()
            self.barrier = asyncio.Barrier(6)

        async def complete(self, request: ChatRequest) -> ChatReply:
            await self.barrier.wait()
            return await super().complete(request)

    assert run(AllAtOnce(), numbered(2), 3, tasks_per_request=1) == [agreed("refund", 1.0)] * 2


def test_what_a_reply_leaves_out_goes_again_for_that_answer_alone() -> None:
    chat = InTurns({"a": [{}, REFUND, REFUND, REFUND], "b": [{}, {}, {}, OTHERWISE, {}, {}, {}]})

    outcomes = run(chat, ["a"], 3)
    hopeless = run(chat, ["b"], 3)

    assert (outcomes, len(chat.requests)) == ([agreed("refund", 1.0)], 4 + 6)
    assert hopeless == [NO_LABEL_NAMED]


def test_answers_that_failed_are_left_out() -> None:
    gone = LLMUnavailable("answered 503")
    chat = InTurns({"a": [REFUND, gone, OTHERWISE, REFUND], "b": [gone, gone, OTHERWISE, gone], "c": [gone] * 4})

    outcomes = run(chat, ["a", "b", "c"], 4, tasks_per_request=1)

    failed = Failed("answered 503", passing=True)
    assert outcomes == [agreed("refund", 2 / 3), OTHER, failed]


def test_the_deadline_leaves_what_came() -> None:
    chat = InTurns({"a": [REFUND, HANG, OTHERWISE, REFUND], "b": [HANG, HANG, HANG, REFUND], "c": [HANG] * 4})
    heard: list[Mapping[int, Outcome]] = []

    outcomes = run(chat, ["a", "b", "c"], 4, 0.05, tasks_per_request=1, on_settled=heard.append)

    assert outcomes == [agreed("refund", 2 / 3), LABELED, Failed(LATE, is_late=True)]
    assert heard == [{0: outcomes[0], 1: outcomes[1]}]


def test_a_ticket_fails_for_the_first_reason_that_is_not_the_deadline() -> None:
    chat = InTurns({"a": [HANG, LLMRefusesRequest("check OPENAI_API_KEY")]})

    assert run(chat, ["a"], 2, 0.05) == [Failed("check OPENAI_API_KEY", fatal=True)]


def test_outcomes_are_told_once_when_all_answers_are_in() -> None:
    chat = InTurns({"1": [OTHERWISE, REFUND], "2": [LLMUnavailable("answered 503"), HANG], "3": [HANG, REFUND]})
    heard: list[Mapping[int, Outcome]] = []

    outcomes = run(chat, ["0", "1", "2", "3", "0"], 2, 0.1, tasks_per_request=1, on_settled=heard.append)

    assert outcomes[:2] == [agreed("refund", 1.0), agreed("other", 0.5)]
    assert outcomes[2:] == [Failed("answered 503", passing=True), LABELED, outcomes[0]]
    assert {place: outcome for each in heard for place, outcome in each.items()} == dict(enumerate(outcomes))
    assert [set(each) for each in heard] == [{0, 4}, {1}, {2, 3}]


def test_who_is_told_outcomes_can_end_the_asking() -> None:
    def lost(_: Mapping[int, Outcome]) -> None:
        raise KeyError("somebody else is at it")

    with pytest.raises(KeyError, match="somebody else"):
        run(InTurns({"1": [HANG, HANG]}), ["0", "1"], 2, tasks_per_request=1, on_settled=lost)


def test_what_it_costs_is_added_up_over_all_answers() -> None:
    usage, measured = Usage(), Measured()

    run(FakeChat(), numbered(3), 4, usage=usage, measured=measured)

    assert usage == Usage(requests=4, prompt_tokens=400, completion_tokens=40, cost=1.0)
    assert measured.factor != 1.0


def test_no_more_requests_are_under_way_than_allowed() -> None:
    class Counting(FakeChat):
        now = most = 0

        async def complete(self, request: ChatRequest) -> ChatReply:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.001)
            self.now -= 1
            return await super().complete(request)

    few, many = Counting(), Counting()
    run(few, numbered(12), 3, tasks_per_request=1, at_once=1)
    run(many, numbered(12), 3, tasks_per_request=1, at_once=6)

    assert (few.most, many.most, len(many.requests)) == (3, 6, 36)


def test_what_is_not_admitted_is_not_asked_and_what_was_counts() -> None:
    chat = InTurns({})
    ended: list[ChatRequest] = []

    class Five:
        def admits(self, request: ChatRequest) -> Admission:
            return "yes" if len(chat.requests) < 5 else "stop"

        def ended(self, request: ChatRequest, lost: int) -> None:
            ended.append(request)

    outcomes = run(chat, numbered(4), 3, tasks_per_request=1, gate=Five(), at_once=3)

    assert outcomes[:2] == [agreed("refund", 1.0)] * 2
    assert all(isinstance(outcome, Failed) for outcome in outcomes[2:])
    assert (len(ended), len(chat.requests)) == (5, 5)


def test_what_was_spent_is_told_before_another_answer_waits_to_be_asked_for() -> None:
    said: list[Admission] = ["yes", "later", "yes"]
    heard: list[set[int]] = []

    class InTurn:
        def admits(self, request: ChatRequest) -> Admission:
            return said.pop(0)

        def ended(self, request: ChatRequest, lost: int) -> None:
            """Of no concern here."""

    outcomes = run(
        FakeChat(), numbered(2), 2, gate=InTurn(), at_once=2, on_settled=lambda settled: heard.append(set(settled))
    )

    assert (outcomes, said) == ([agreed("refund", 1.0)] * 2, [])
    assert heard == [set(), {0, 1}]


def test_a_ticket_that_a_stand_in_has_answered_once_is_told() -> None:
    class Once(FakeChat):
        async def complete(self, request: ChatRequest) -> ChatReply:
            reply = await super().complete(request)
            return ChatReply(reply.text, is_stand_in=len(self.requests) == 2)

    stand_ins: set[int] = set()

    run(Once(), numbered(2), 2, tasks_per_request=1, stand_ins=stand_ins)

    assert stand_ins == {1}


def test_tickets_whose_answers_did_not_all_come_are_told() -> None:
    gone, stand_ins = LLMUnavailable("answered 503"), set[int]()
    chat = InTurns({"a": [REFUND, gone], "b": [REFUND, REFUND], "c": [REFUND, HANG]})

    run(chat, ["a", "b", "c"], 2, 0.2, tasks_per_request=1, stand_ins=stand_ins)

    assert stand_ins == {0, 2}


def test_several_answers_are_drawn_at_random() -> None:
    one, five = (Settings.from_env({"TEMPERATURE": "0.2", "NUM_RESPONSES": number}) for number in "15")

    assert sampling(one) == one
    assert sampling(five) == Settings.from_env({"TEMPERATURE": "0.7", "NUM_RESPONSES": "5"})
