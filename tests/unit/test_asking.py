"""Tickets to outcomes: how they are grouped, and what one bad ticket costs the others (nothing)."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prelabel.asking.ask import Chat, ask
from prelabel.asking.requests import LONGEST_EXAMPLE_TOKENS, Assignment, Composer, Measured, Told
from prelabel.core.tokens import estimate_tokens
from prelabel.core.types import Abstained, Choices, Example, Failed, Label, Labeled, Note, Outcome, Ticket, Usage
from prelabel.errors import LLMError, LLMRefusesContent, LLMRefusesRequest, LLMUnavailable
from prelabel.llm.exchange import ChatReply, ChatRequest
from tests.fakes.chat import HANG, SAYS_NOTHING, FakeChat, read_fence

INTENT = Choices("intent", "text", (Label("refund", "Refund"), Label("other", "Other")))
LABELED = Labeled({"intent": ("refund",)}, 0.9)
OTHER = Labeled({"intent": ("other",)}, 0.9)
CUT_OFF = "the LLM's reply was cut off"
NO_LABEL_NAMED = Abstained("the LLM's reply holds no answer with a label of the config")
PATIENCE_S = 5.0


class InTurn(FakeChat):
    """Gives these replies, one a request."""

    def __init__(self, *replies: ChatReply | str) -> None:
        super().__init__()
        self._replies = iter(replies)

    async def complete(self, request: ChatRequest) -> ChatReply:
        self.requests.append(request)
        reply = next(self._replies)
        return reply if isinstance(reply, ChatReply) else ChatReply(reply)


def run(
    chat: Chat,
    texts: Sequence[str],
    examples: Sequence[Sequence[Example]] | None = None,
    deadline_s: float = PATIENCE_S,
    measured: Measured | None = None,
    **assignment: Any,
) -> list[Outcome]:
    chosen = examples or [()] * len(texts)
    told = [Told(Ticket(number, text), chosen[number]) for number, text in enumerate(texts)]
    return asyncio.run(ask(chat, Assignment((INTENT,), **assignment), told, deadline_s, measured=measured))


def numbered(count: int) -> list[str]:
    return [f"ticket {number}" for number in range(count)]


def example(task_id: int, text: str = "reviewed", label: str = "refund") -> Example:
    return Example(task_id, text, {"intent": (label,)})


def shown(chat: FakeChat) -> list[dict[str, Any]]:
    """The examples in the only request."""
    [request] = chat.requests
    return read_fence(request.messages, "examples") if "<examples>" in request.messages[1].content else []


def cost(request: ChatRequest) -> int:
    return sum(estimate_tokens(message.content) for message in request.messages)


def test_every_ticket_gets_its_outcome_in_order() -> None:
    texts = [f"{number % 3}" for number in range(25)]
    chat = FakeChat({"1": {"label": "2", "confidence": 0.4}, "2": {"label": "none"}})

    outcomes = run(chat, texts)

    other, neither = Labeled({"intent": ("other",)}, 0.4), Abstained("the LLM says that no label fits")
    assert outcomes == ([LABELED, other, neither] * 9)[:25]


def test_no_tickets_ask_nothing() -> None:
    chat = FakeChat()

    assert (run(chat, []), chat.requests) == ([], [])


@pytest.mark.parametrize(("most", "groups"), [(10, [10, 10, 5]), (25, [25]), (4, [4] * 6 + [1]), (1, [1] * 25)])
def test_a_request_holds_at_most_so_many_tickets(most: int, groups: list[int]) -> None:
    chat = FakeChat()

    run(chat, numbered(25), tasks_per_request=most)

    assert [len(texts) for texts in chat.asked] == groups
    assert [text for texts in chat.asked for text in texts] == numbered(25)


def test_long_tickets_share_a_request_only_while_there_is_room() -> None:
    chat = FakeChat()
    medium, long = [f"word{number}" * 400 for number in range(10)], "word " * 4000  # 500 and 5000 tokens of 7500

    outcomes = run(chat, [medium[0], long, *medium[1:]])

    assert [[len(text) for text in texts] for texts in chat.asked] == [[20_000], [2000] * 7, [2000] * 3]
    assert outcomes == [LABELED] * 11


def test_a_ticket_that_is_too_long_is_cut_in_its_middle_and_asked_alone() -> None:
    chat = FakeChat()
    turns = [f"Customer: this is turn {number}" for number in range(8000)]

    outcomes = run(chat, ["short", "\n".join(turns)])

    [[cut], short] = sorted(chat.asked, key=lambda texts: -len(texts[0]))
    assert (short, outcomes) == (["short"], [LABELED, LABELED])
    assert (cut.splitlines()[0], cut.splitlines()[-1]) == (turns[0], turns[-1])
    assert "characters left out" in cut
    assert all(cost(request) <= 8000 for request in chat.requests)


def test_instructions_that_use_up_the_budget_leave_a_ticket_some_room() -> None:
    chat = FakeChat()

    run(chat, ["word " * 1000], prompt="rule " * 10_000, max_input_tokens=500)

    [[cut]] = chat.asked
    assert 150 < estimate_tokens(cut) <= 200


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


def test_a_model_that_counts_more_tokens_than_estimated_gets_fewer_tickets_a_request() -> None:
    measured = Measured()
    composer = Composer.of(Assignment((INTENT,)), [], measured)
    room = composer.room
    for _ in range(50):
        measured.count_prompt(1000, 2000)

    assert measured.factor == pytest.approx(2.0, abs=0.01)
    assert composer.room < room / 2


def test_texts_that_are_the_same_are_asked_about_once() -> None:
    chat = FakeChat({"b": {"label": "2", "confidence": 0.9}})

    outcomes = run(chat, ["a", "b", "a", "a", "b"])

    assert chat.asked == [["a", "b"]]
    assert outcomes == [LABELED, OTHER, LABELED, LABELED, OTHER]


def test_texts_whose_named_fields_differ_are_not_the_same() -> None:
    chat = FakeChat()
    tickets = [Ticket(number, "a", {"subject": subject, "seen": str(number)}) for number, subject in enumerate("xyx")]

    asyncio.run(
        ask(chat, Assignment((INTENT,), template="{subject} {text}"), [Told(each) for each in tickets], PATIENCE_S)
    )

    assert len(chat.requests) == 2


def test_the_reviews_of_all_who_read_the_same_are_left_out() -> None:
    chat = FakeChat()

    run(chat, ["x", "x"], [[example(1, "x"), example(7, "another")], []])

    assert [item["text"] for item in shown(chat)] == ["another"]


def test_tickets_go_together_in_the_order_that_is_given() -> None:
    chat = FakeChat()
    texts = numbered(4)
    tickets = [Ticket(number, text) for number, text in enumerate(texts)]

    outcomes = asyncio.run(
        ask(
            chat,
            Assignment((INTENT,), tasks_per_request=2),
            [Told(each) for each in tickets],
            PATIENCE_S,
            order=[3, 0, 2, 1],
        )
    )

    assert chat.asked == [[texts[3], texts[0]], [texts[2], texts[1]]]
    assert outcomes == [LABELED] * 4


def test_notes_stand_before_examples_each_once() -> None:
    chat = FakeChat()
    iban, swift = Note("IBAN", "An account's number."), Note("SWIFT", "A bank's code.")
    told = [Told(Ticket(1, "x"), [example(7)], [iban]), Told(Ticket(2, "y"), [], [swift, iban])]

    asyncio.run(ask(chat, Assignment((INTENT,)), told, PATIENCE_S))

    [request] = chat.requests
    assert read_fence(request.messages, "notes") == [
        {"name": "IBAN", "text": "An account's number."},
        {"name": "SWIFT", "text": "A bank's code."},
    ]
    user = request.messages[1].content
    assert user.index("<notes>") < user.index("<examples>") < user.index("<tickets>")


def test_notes_take_a_part_of_the_room_only() -> None:
    chat = FakeChat()
    notes = [Note(f"term {number}", "word " * 150) for number in range(100)]

    asyncio.run(
        ask(chat, Assignment((INTENT,), max_input_tokens=4000), [Told(Ticket(1, "x"), notes=notes)], PATIENCE_S)
    )

    [request] = chat.requests
    assert 1 <= len(read_fence(request.messages, "notes")) < 6


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

    assert outcomes == [LABELED] * 3 + [Failed(str(error), fatal=fatal)] * 3
    assert chat.asked == [texts[:3], texts[3:]]


def test_the_deadline_fails_what_was_not_reached_and_keeps_the_rest() -> None:
    texts = numbered(5)
    chat = FakeChat({texts[2]: HANG})

    outcomes = run(chat, texts, deadline_s=0.05, tasks_per_request=2)

    assert outcomes == [LABELED] * 2 + [Failed("not reached within 0.05 s")] * 2 + [LABELED]


def test_the_deadline_keeps_what_a_group_had_answered_before() -> None:
    class HangsTheSecondTime(FakeChat):
        async def complete(self, request: ChatRequest) -> ChatReply:
            if self.requests:
                await asyncio.Event().wait()
            return await super().complete(request)

    texts = numbered(3)
    outcomes = run(HangsTheSecondTime({texts[1]: SAYS_NOTHING}), texts, deadline_s=0.05)

    assert outcomes == [LABELED, Failed("not reached within 0.05 s"), LABELED]


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


def test_the_llm_is_told_what_the_assignment_says() -> None:
    chat = FakeChat({"a": {"label": "1", "confidence": 0.9, "comment": "Money."}})

    outcomes = run(chat, ["a"], prompt="Be strict.", with_comment=True)

    [request] = chat.requests
    assert outcomes == [Labeled({"intent": ("refund",)}, 0.9, "Money.")]
    assert request.messages[0].content.endswith("Instructions of this project:\nBe strict.")
    answer = request.schema["properties"]["answers"]["items"]["properties"]
    assert list(answer) == ["id", "comment", "label", "confidence"]


def test_a_template_that_names_a_field_is_asked_ticket_by_ticket() -> None:
    chat = FakeChat()
    tickets = [Ticket(number, f"text {number}", {"subject": f"subject {number}"}) for number in range(3)]
    work = Assignment((INTENT,), template="About {subject}:\n{text}")

    outcomes = asyncio.run(ask(chat, work, [Told(each) for each in tickets], PATIENCE_S))

    assert outcomes == [LABELED] * 3
    assert [request.messages[1].content.splitlines()[0] for request in chat.requests] == [
        f'About <data>"subject {number}"</data>:' for number in range(3)
    ]


def test_a_field_that_a_template_names_is_cut_like_the_text() -> None:
    chat = FakeChat()
    ticket = Ticket(1, "short", {"thread": "Customer: where is my order?\n" * 7000})
    work = Assignment((INTENT,), template="{thread}\n\n{text}")

    asyncio.run(ask(chat, work, [Told(ticket)], PATIENCE_S))

    assert [cost(request) <= work.max_input_tokens for request in chat.requests] == [True]


def test_examples_stand_in_the_request_each_once_the_most_fitting_of_each_ticket_first() -> None:
    chat = FakeChat()
    first, second = (
        [example(11, "a"), example(12, "b"), example(13, "c")],
        [example(12, "b"), example(14, "d", "other")],
    )

    run(chat, ["x", "y"], [first, second])

    assert shown(chat) == [
        {"text": "a", "label": "1"},
        {"text": "b", "label": "1"},
        {"text": "d", "label": "2"},
        {"text": "c", "label": "1"},
    ]


def test_a_tickets_own_review_is_never_among_the_examples() -> None:
    chat = FakeChat()
    tickets_own, neighbours, free = example(0, "mine"), example(1, "the next one's"), example(7, "another")

    run(chat, ["x", "y"], [[tickets_own, neighbours, free], [tickets_own, free]])

    assert [item["text"] for item in shown(chat)] == ["another"]


def test_a_neighbours_review_helps_once_the_neighbour_is_not_asked_about() -> None:
    chat = FakeChat()

    run(chat, ["x", "y"], [[example(1, "of y")], [example(0, "of x")]], tasks_per_request=1)

    assert [read_fence(request.messages, "examples")[0]["text"] for request in chat.requests] == ["of y", "of x"]


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


def test_a_long_example_is_cut() -> None:
    chat = FakeChat()

    run(chat, ["x"], [[example(7, "word " * 1000)]])

    [item] = shown(chat)
    assert LONGEST_EXAMPLE_TOKENS // 2 < estimate_tokens(item["text"]) <= LONGEST_EXAMPLE_TOKENS


def test_examples_take_no_more_room_than_tickets_leave() -> None:
    chat = FakeChat()
    examples = [example(number, "word " * 150) for number in range(100, 200)]

    run(chat, ["word " * 300], [examples], max_input_tokens=2000)

    assert 1 <= len(shown(chat)) < 100
    assert cost(chat.requests[0]) <= 2000 + 10 * len(shown(chat))  # the JSON around each


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
