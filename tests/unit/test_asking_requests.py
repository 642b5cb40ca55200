"""What one request says: which tickets go together, and what stands beside them."""

import asyncio

import pytest

from prelabel.asking.ask import ask
from prelabel.asking.requests import LONGEST_EXAMPLE_TOKENS, Assignment, Composer, Measured, Told
from prelabel.core.tokens import estimate_tokens
from prelabel.core.types import Note, Ticket
from tests.fakes.chat import FakeChat, read_fence
from tests.unit.answers import said
from tests.unit.asking import (
    INTENT,
    LABELED,
    OTHER,
    PATIENCE_S,
    cost,
    example,
    numbered,
    run,
    shown,
)


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


def test_the_llm_is_told_what_the_assignment_says() -> None:
    chat = FakeChat({"a": {"label": "1", "confidence": 0.9, "comment": "Money."}})

    outcomes = run(chat, ["a"], prompt="Be strict.", with_comment=True)

    [request] = chat.requests
    assert outcomes == [said({"intent": ("refund",)}, 0.9, "Money.")]
    assert request.messages[0].content.endswith("Instructions of this project:\nBe strict.")
    answer = request.schema["properties"]["answers"]["items"]["properties"]
    assert list(answer) == ["id", "comment", "label", "confidence"]
    assert request.logprobs


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
