"""Tickets to outcomes: what goes again, and what one bad ticket costs the others (nothing)."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prelabel.asking.ask import ask
from prelabel.asking.requests import Assignment, Measured, Told
from prelabel.core.types import Abstained, Failed, Labeled, Ticket, Usage
from prelabel.errors import LLMError, LLMRefusesContent, LLMRefusesRequest, LLMUnavailable
from prelabel.llm.exchange import ChatReply, ChatRequest
from tests.fakes.chat import HANG, SAYS_NOTHING, FakeChat
from tests.unit.answers import said
from tests.unit.asking import (
    CUT_OFF,
    INTENT,
    LABELED,
    NO_LABEL_NAMED,
    PATIENCE_S,
    InTurn,
    cost,
    example,
    numbered,
    run,
)


def test_every_ticket_gets_its_outcome_in_order() -> None:
    texts = [f"{number % 3}" for number in range(25)]
    chat = FakeChat({"1": {"label": "2", "confidence": 0.4}, "2": {"label": "none"}})

    outcomes = run(chat, texts)

    other, neither = said({"intent": ("other",)}, 0.4), Abstained("the LLM says that no label fits")
    assert outcomes == ([LABELED, other, neither] * 9)[:25]


def test_no_tickets_ask_nothing() -> None:
    chat = FakeChat()

    assert (run(chat, []), chat.requests) == ([], [])


def test_requests_are_made_at_once() -> None:
    class AllAtOnce(FakeChat):
        def __init__(self) -> None:
            super().__init__()
            self.barrier = asyncio.Barrier(5)

        async def complete(self, request: ChatRequest) -> ChatReply:
            await self.barrier.wait()
            return await super().complete(request)

    assert run(AllAtOnce(), numbered(5), tasks_per_request=1) == [LABELED] * 5


def test_what_a_reply_leaves_out_goes_again_alone() -> None:
    texts = numbered(10)
    chat = FakeChat({texts[3]: SAYS_NOTHING})

    outcomes = run(chat, texts)

    assert outcomes == [LABELED] * 3 + [NO_LABEL_NAMED] + [LABELED] * 6
    assert chat.asked == [texts, [texts[3]], [texts[3]]]


def test_what_is_left_goes_again_in_halves_down_to_one() -> None:
    texts = numbered(5)
    chat = FakeChat(dict.fromkeys(texts, SAYS_NOTHING))

    outcomes = run(chat, texts)

    assert outcomes == [NO_LABEL_NAMED] * 5
    assert sorted(map(len, chat.asked), reverse=True) == [5, 3, 2, 2, *[1] * 10]


def test_a_reply_that_cannot_be_read_goes_again_in_halves() -> None:
    texts = numbered(4)
    chat = FakeChat({texts[0]: "I would rather not."})

    outcomes = run(chat, texts)

    assert outcomes == [NO_LABEL_NAMED, LABELED, LABELED, LABELED]
    assert sorted(chat.asked) == sorted([texts, texts[:2], texts[2:], texts[:1], texts[:1], texts[1:2]])


def test_a_lone_ticket_abstains_with_what_was_the_matter_with_the_reply() -> None:
    assert run(FakeChat({"a": ""}), ["a"]) == [Abstained("the LLM's reply is empty")]


@pytest.mark.parametrize("useless", ["", "I would rather not.", '{"answers": [{"id": 1, "label": "Refnd"}]}'])
def test_a_lone_ticket_is_asked_about_once_more_before_it_abstains(useless: str) -> None:
    chat = InTurn(useless, '{"answers": [{"id": 1, "label": "1", "confidence": 0.9}]}')

    assert run(chat, ["a"]) == [LABELED]
    assert ["could not be used" in request.messages[1].content for request in chat.requests] == [False, True]


def test_a_refusal_of_a_lone_ticket_is_not_argued_with() -> None:
    chat = InTurn(ChatReply("", "the LLM refused to answer", is_refusal=True))

    assert run(chat, ["a"]) == [Abstained("the LLM refused to answer")]


def test_a_reply_that_was_cut_off_keeps_what_is_whole_and_gets_twice_the_room_for_the_rest() -> None:
    whole = '{"answers": [{"id": 1, "label": "1", "confidence": 0.9}, {"id": 2, "la'
    chat = InTurn(
        ChatReply(whole, CUT_OFF, is_cut_off=True),
        ChatReply(json.dumps({"answers": [{"id": n, "label": "1", "confidence": 0.9} for n in (1, 2)]})),
    )

    assert run(chat, numbered(3)) == [LABELED] * 3
    assert chat.asked == [numbered(3), numbered(3)[1:]]
    first, second = (request.max_tokens or 0 for request in chat.requests)
    assert second > 1.5 * first


def test_a_lone_reply_that_is_cut_off_with_twice_the_room_abstains() -> None:
    babble = ChatReply("Well, ", CUT_OFF, is_cut_off=True)
    chat = InTurn(babble, babble, babble)

    assert run(chat, ["a"]) == [Abstained(CUT_OFF)]
    first, *others = (request.max_tokens or 0 for request in chat.requests)
    assert others == [2 * first, 2 * first]


def test_a_model_that_needs_the_room_gets_it_from_then_on() -> None:
    measured = Measured()
    answered = ChatReply('{"answers": [{"id": 1, "label": "1"}]}', completion_tokens=250)
    run(InTurn(ChatReply("", CUT_OFF, is_cut_off=True, completion_tokens=172), answered), ["a"], measured=measured)
    chat = InTurn(answered)

    run(chat, ["b"], measured=measured)

    assert (measured.reply_room, chat.requests[0].max_tokens) == (2, 2 * 172)


def test_a_model_that_thinks_for_long_gets_the_room_for_it() -> None:
    measured = Measured()
    thinking = ChatReply("", CUT_OFF, is_cut_off=True)

    outcomes = run(
        InTurn(*[thinking] * 4, '{"answers": [{"id": 1, "label": "1", "confidence": 0.9}]}'), ["a"], measured=measured
    )

    assert (outcomes, measured.reply_room) == ([LABELED], 8)


def test_a_model_that_never_says_a_word_is_given_up() -> None:
    thinking = FakeChat({"a": ChatReply("", CUT_OFF, is_cut_off=True)})

    assert run(thinking, ["a"]) == [Abstained(CUT_OFF)]
    assert len(thinking.requests) < 12


def test_a_model_that_needed_no_more_room_gets_no_more() -> None:
    measured = Measured()
    answered = ChatReply('{"answers": [{"id": 1, "label": "1"}]}', completion_tokens=12)

    run(InTurn(ChatReply("", CUT_OFF, is_cut_off=True, completion_tokens=172), answered), ["a"], measured=measured)

    assert measured.reply_room == 1


def test_content_that_is_refused_is_found_and_only_it_abstains() -> None:
    texts = numbered(8)
    chat = FakeChat({texts[5]: LLMRefusesContent("answered 400 (content_filter)")})

    outcomes = run(chat, texts)

    assert outcomes == [LABELED] * 5 + [Abstained("answered 400 (content_filter)")] + [LABELED] * 2
    assert sorted(map(len, chat.asked), reverse=True) == [8, 4, 4, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("error", "fatal"), [(LLMRefusesRequest("check OPENAI_API_KEY"), True), (LLMUnavailable("answered 503"), False)]
)
def test_a_request_that_fails_fails_its_own_tickets_with_its_reason(error: LLMError, fatal: bool) -> None:
    texts = numbered(6)
    chat = FakeChat({texts[4]: error})

    outcomes = run(chat, texts, tasks_per_request=3)

    assert outcomes == [LABELED] * 3 + [Failed(str(error), fatal=fatal, passing=not fatal)] * 3
    assert chat.asked == [texts[:3], texts[3:]]


def test_the_deadline_fails_what_was_not_reached_and_keeps_the_rest() -> None:
    texts = numbered(5)
    chat = FakeChat({texts[2]: HANG})

    outcomes = run(chat, texts, deadline_s=0.05, tasks_per_request=2)

    assert outcomes == [LABELED] * 2 + [Failed("not reached within 0.05 s", is_late=True)] * 2 + [LABELED]


def test_the_deadline_keeps_what_a_group_had_answered_before() -> None:
    class HangsTheSecondTime(FakeChat):
        async def complete(self, request: ChatRequest) -> ChatReply:
            if self.requests:
                await asyncio.Event().wait()
            return await super().complete(request)

    texts = numbered(3)
    outcomes = run(HangsTheSecondTime({texts[1]: SAYS_NOTHING}), texts, deadline_s=0.05)

    assert outcomes == [LABELED, Failed("not reached within 0.05 s", is_late=True), LABELED]


def test_what_is_late_is_called_off() -> None:
    async def asked_then_counted() -> int:
        await ask(FakeChat({"a": HANG}), Assignment((INTENT,)), [Told(Ticket(1, "a"))], 0.01)
        return len(asyncio.all_tasks())

    assert asyncio.run(asked_then_counted()) == 1


def test_what_asking_costs_is_added_up() -> None:
    texts, usage = numbered(4), Usage(requests=1, prompt_tokens=7, completion_tokens=3)
    tickets = [Ticket(number, text) for number, text in enumerate(texts)]
    chat = FakeChat({texts[0]: SAYS_NOTHING})

    asyncio.run(ask(chat, Assignment((INTENT,)), [Told(each) for each in tickets], PATIENCE_S, usage))

    assert usage == Usage(requests=4, prompt_tokens=307, completion_tokens=33, cost=0.75)


def test_a_bug_is_not_hidden() -> None:
    class Broken(FakeChat):
        async def complete(self, request: ChatRequest) -> ChatReply:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(Broken(), ["a"])


def test_what_is_refused_with_its_examples_goes_without() -> None:
    """A server's context may be smaller than LLM_MAX_INPUT_TOKENS."""

    class Small(FakeChat):
        async def complete(self, request: ChatRequest) -> ChatReply:
            reply = await super().complete(request)
            if cost(request) > 600:
                raise LLMRefusesContent("answered 400 (context_length_exceeded)")
            return reply

    chat = Small()

    outcomes = run(chat, ["x"], [[example(number, "word " * 150) for number in range(7, 12)]])

    assert outcomes == [LABELED]
    assert ["<examples>" in request.messages[1].content for request in chat.requests] == [True, False]


def test_nothing_goes_on_once_asking_is_called_off() -> None:
    chat = FakeChat(dict.fromkeys(numbered(3), HANG))

    async def call_off() -> int:
        told = [Told(Ticket(number, text)) for number, text in enumerate(numbered(3))]
        asking = asyncio.create_task(ask(chat, Assignment((INTENT,), tasks_per_request=1), told, PATIENCE_S))
        while len(chat.requests) < 3:  # noqa: ASYNC110  the fake tells of it by its list alone
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        return len(asyncio.all_tasks())

    assert asyncio.run(call_off()) == 1


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["good", "silent", "refused", "babbling", "odd"]), max_size=12), st.integers(1, 6)
)  # fmt: skip
def test_a_bad_ticket_never_costs_its_neighbours_anything(kinds: list[str], most: int) -> None:
    told: dict[str, LLMError | str | dict[str, Any]] = {
        "silent": {},
        "refused": LLMRefusesContent("refused"),
        "babbling": "[[[ no",
        "odd": {"label": "Refnd", "confidence": 2},
    }
    chat = FakeChat({f"{kind} {number}": told[kind] for number, kind in enumerate(kinds) if kind in told})

    outcomes = run(chat, [f"{kind} {number}" for number, kind in enumerate(kinds)], tasks_per_request=most)

    assert [isinstance(outcome, Labeled) for outcome in outcomes] == [kind == "good" for kind in kinds]
    assert [isinstance(outcome, Abstained) for outcome in outcomes] == [kind != "good" for kind in kinds]
    bad = sum(kind != "good" for kind in kinds)
    assert len(chat.requests) <= 2 * len(kinds) + bad


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.text(max_size=5), max_size=6),
    st.text()
    | st.lists(
        st.fixed_dictionaries({"id": st.integers(0, 7), "label": st.sampled_from(["1", "2", "none", "3", "x"])})
    ).map(json.dumps),
)
def test_whatever_is_replied_every_ticket_has_one_outcome_of_the_configs_labels(texts: list[str], reply: str) -> None:
    outcomes = run(FakeChat(dict.fromkeys(texts, reply)), texts)

    assert len(outcomes) == len(texts)
    assert all(
        outcome.labels in ({"intent": ("refund",)}, {"intent": ("other",)})
        if isinstance(outcome, Labeled)
        else isinstance(outcome, Abstained)
        for outcome in outcomes
    )
