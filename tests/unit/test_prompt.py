"""What the LLM is sent: the same for every ticket first, and ticket text as data, whatever it says."""

import json
from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.prompt import build_messages, read_instructions, render_labels, ticket_fields
from prelabel.core.types import Choices, Example, Label, Ticket
from tests.fakes.chat import read_fence

INTENT = Choices("intent", "text", (Label("refund", "Refund", "wants money back"), Label("other", "Other")))
TOPICS = Choices("topics", "text", (Label("card", "Card"), Label("app", "App")), multiple=True)

TRICKS = [
    "<tickets>",
    "</tickets>",
    "</EXAMPLES >",
    "<\\/tickets>",
    "\u2028",
    "\u2029",
    "\x85",
    "\x1e",
    "\n",
    "{text}",
    "{0.__class__}",
    '"',
    "\\",
]
TEXTS = st.text() | st.lists(st.sampled_from(TRICKS)).map("\n".join) | st.lists(st.sampled_from(TRICKS)).map("".join)
FIELDS = st.dictionaries(st.text(ascii_lowercase, min_size=1, max_size=3), TEXTS)


def ticket(text: str, **fields: str) -> Ticket:
    return Ticket(1, text, fields)


def test_labels_prompt_examples_and_tickets_stand_in_this_order() -> None:
    example = Example(7, "where is my money", {"intent": ("refund",)})

    system, user = build_messages([INTENT], "Be strict.", [ticket("hi"), ticket("a\nb")], [example])

    labels = 'Labels of "intent" ("label": one id, or "none" if none fits):\n1 Refund - wants money back\n2 Other'
    assert (system.role, system.content) == (
        "system",
        f"{read_instructions()}\n\n{labels}\n\nInstructions of this project:\nBe strict.",
    )
    assert (user.role, user.content) == (
        "user",
        '<examples>\n"where is my money" {"label":"1"}\n</examples>\n\n<tickets>\n1 "hi"\n2 "a\\nb"\n</tickets>',
    )


def test_no_prompt_and_no_examples_leave_no_trace() -> None:
    system, user = build_messages([INTENT], "", [ticket("hi")])

    assert system.content == f"{read_instructions()}\n\n{render_labels([INTENT])}"
    assert user.content == '<tickets>\n1 "hi"\n</tickets>'


def test_japanese_is_sent_as_it_is_written() -> None:
    """Escaped it would cost several times the tokens."""
    messages = build_messages([INTENT], "", [ticket("返金してください")])

    assert '1 "返金してください"' in messages[1].content


def test_the_system_message_is_the_same_for_all_tickets() -> None:
    example = Example(7, "where is my money", {"intent": ("refund",)})
    requests = [
        build_messages([INTENT], "p", [ticket(text)], [example][:count]) for text, count in [("a", 0), ("b", 1)]
    ]

    assert requests[0][0] == requests[1][0]


@pytest.mark.parametrize(
    ("multiple", "required", "rule"),
    [
        (False, False, '"label": one id, or "none" if none fits'),
        (False, True, '"label": one id, or "none" if none fits'),
        (True, False, '"labels": every id that fits, or an empty list if none fits'),
        (True, True, '"labels": every id that fits, or an empty list if none fits'),
    ],
)
def test_the_heading_says_how_many_ids_may_be_given(multiple: bool, required: bool, rule: str) -> None:
    question = Choices("intent", "text", (Label("a", "a"),), multiple, required)

    assert render_labels([question]) == f'Labels of "intent" ({rule}):\n1 a'


def test_several_questions_stand_under_their_own_headings() -> None:
    rendered = render_labels([INTENT, TOPICS])

    assert rendered == (
        'Labels of "intent" ("label_1": one id, or "none" if none fits):\n'
        "1 Refund - wants money back\n2 Other\n\n"
        'Labels of "topics" ("labels_2": every id that fits, or an empty list if none fits):\n1 Card\n2 App'
    )


def test_a_label_takes_one_line_however_it_is_written() -> None:
    question = Choices("intent", "text", (Label("a", "two\n lines", "a hint\n\nof three\u2028lines"),))

    assert render_labels([question]).splitlines()[1:] == ["1 two lines - a hint of three lines"]


def test_examples_show_what_people_chose_for_every_question() -> None:
    both = Example(1, "a", {"intent": ("other",), "topics": ("card", "app")})
    neither = Example(2, "b", {})

    messages = build_messages([INTENT, TOPICS], "", [ticket("hi")], [both, neither])

    assert read_fence(messages, "examples") == [
        {"text": "a", "label_1": "2", "labels_2": ["1", "2"]},
        {"text": "b", "label_1": "none", "labels_2": []},
    ]


@given(st.lists(TEXTS, max_size=4), st.lists(TEXTS, max_size=3))
def test_whatever_texts_hold_they_come_back_from_inside_the_fence(texts: list[str], reviewed: list[str]) -> None:
    examples = [Example(number, text, {}) for number, text in enumerate(reviewed)]

    messages = build_messages([INTENT], "", [ticket(text) for text in texts], examples)

    assert [item["text"] for item in read_fence(messages)] == texts
    assert not reviewed or [item["text"] for item in read_fence(messages, "examples")] == reviewed
    user = messages[1].content
    assert len(user.splitlines()) == len(texts) + 2 + (len(reviewed) + 3 if reviewed else 0)
    assert [user.lower().count(fence) for fence in ("<tickets", "</tickets")] == [1, 1]
    assert [user.lower().count(fence) for fence in ("<examples", "</examples")] == [1 if reviewed else 0] * 2


@given(TEXTS, FIELDS)
def test_whatever_fields_hold_a_template_keeps_the_fence_whole(text: str, fields: dict[str, str]) -> None:
    template = "\n".join(f"{name} is {{{name}}}." for name in fields if name not in {"text", "labels", "prompt"})

    messages = build_messages([INTENT], "", [ticket(text, **fields)], template=template or "Label this.")

    assert [item["text"] for item in read_fence(messages)] == [text]


@given(st.text(st.characters(categories=["Cs", "Lu"]), min_size=1))
def test_half_an_emoji_can_still_be_sent(text: str) -> None:
    """Software that counts in UTF-16 cuts texts inside a character; JSON brings the halves through."""
    messages = build_messages([INTENT], "", [ticket(text)], [Example(1, text, {})])

    assert [message.content.encode().decode() for message in messages] == [message.content for message in messages]
    assert [item["text"] for item in read_fence(messages)] == [json.loads(json.dumps(text))]


def test_a_template_takes_the_prompts_place() -> None:
    template = "Directive: {prompt}\n\n{labels}\n\nTickets:\n{text}\n\nGo."

    system, user = build_messages([INTENT], "Be strict.", [ticket("hi")], template=template)

    assert system.content == f"{read_instructions()}\n\n{render_labels([INTENT])}"
    assert user.content == (
        f'Directive: Be strict.\n\n{render_labels([INTENT])}\n\nTickets:\n\n<tickets>\n1 "hi"\n</tickets>\n\n\nGo.'
    )


def test_a_template_that_has_the_text_in_a_line_keeps_the_fence_whole() -> None:
    """Label Studio's own LLM example suggests such a one."""
    template = "Classify this text as sarcastic or not. Text: {text}, Labels: {labels}"

    messages = build_messages([INTENT], "", [ticket("hi"), ticket("ho")], template=template)

    assert [item["text"] for item in read_fence(messages)] == ["hi", "ho"]


def test_a_template_without_the_text_is_followed_by_it() -> None:
    _, user = build_messages([INTENT], "", [ticket("hi", subject="a\nb")], template="Subject: {subject}")

    assert user.content == 'Subject: <data>"a\\nb"</data>\n\n<tickets>\n1 "hi"\n</tickets>'


def test_a_template_stands_between_examples_and_what_it_asks() -> None:
    _, user = build_messages([INTENT], "", [ticket("hi")], [Example(1, "a", {})], template="Now:")

    assert user.content.startswith("<examples>\n")
    assert user.content.endswith('</examples>\n\nNow:\n\n<tickets>\n1 "hi"\n</tickets>')


@pytest.mark.parametrize(
    "template",
    ["{unknown}", "{}", "{0}", "{text.__class__}", "{text!r}", '{"label": 1}', "{{", "{a b}", "%s $text \\1"],
)
def test_braces_that_are_no_placeholder_stay_as_they_are(template: str) -> None:
    _, user = build_messages([INTENT], "", [ticket("hi")], template=template)

    assert user.content.split("\n\n")[0] == template


def test_what_replaces_a_placeholder_is_not_looked_at_again() -> None:
    messages = build_messages(
        [INTENT], "{labels} {a}", [ticket("{prompt} {b}", a="{b}", b="secret")], template="{prompt}\n\n{a}\n\n{text}"
    )

    prompt, field, _ = messages[1].content.split("\n\n")
    assert (prompt, field) == ("{labels} {a}", '<data>"{b}"</data>')
    assert [item["text"] for item in read_fence(messages)] == ["{prompt} {b}"]


def test_braces_in_the_projects_prompt_stay_as_they_are() -> None:
    system, _ = build_messages([INTENT], "Answer {text} as {labels}, {0}.", [ticket("hi")])

    assert system.content.endswith("Instructions of this project:\nAnswer {text} as {labels}, {0}.")


def test_placeholders_of_our_own_win_over_fields_of_that_name() -> None:
    _, user = build_messages([INTENT], "mine", [ticket("hi", prompt="theirs")], template="{prompt}")

    assert user.content.split("\n\n")[0] == "mine"


def test_a_template_is_filled_without_tickets_too() -> None:
    _, user = build_messages([INTENT], "", [], template="{subject}")

    assert user.content == "{subject}\n\n<tickets>\n</tickets>"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", False),
        ("{prompt} {labels} {text} {other}", False),
        ('{"label": 1} {}', False),
        ("{prompt} {subject}", True),
    ],
)
def test_a_template_that_names_a_field_differs_from_ticket_to_ticket(template: str, expected: bool) -> None:
    assert bool(ticket_fields(template, [ticket("hi", subject="a")])) is expected
