"""The ladder of forms, and what is learned of a server without one being there."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.prompt import Message
from prelabel.core.schema import reply_schema
from prelabel.core.types import Choices, Label
from prelabel.llm.capabilities import Capabilities, Learned
from prelabel.llm.forms import Form, follows, response_format, tell_form
from prelabel.llm.memory import NoMemory

INTENT = Choices("intent", "text", (Label("refund", "Refund"), Label("other", "Other")))
TONE = Choices("tone", "text", (Label("calm", "calm"), Label("angry", "angry")), multiple=True)
SCHEMA = reply_schema((INTENT, TONE), with_comment=True)
FEATURES = ("form", "temperature", "length", "logprobs")


class Kept(NoMemory):
    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def recall(self, name: str) -> str | None:
        return self.values.get(name)

    def remember(self, name: str, value: str, for_s: float) -> None:
        self.values[name] = value


def told(follow: Sequence[bool]) -> Form:
    """The form after replies of which each followed it or not."""

    async def tell() -> Form:
        learned = Learned("server", "openai", NoMemory())
        for each in follow:
            await learned.replied(learned.now, follows=each)
        return learned.now.form

    return asyncio.run(tell())


@pytest.mark.parametrize(
    ("form", "words", "below"),
    [
        (Form.STRICT, "this response_format type is unavailable now", Form.OBJECT_OF_SCHEMA),
        (Form.STRICT, "response_format of type json_schema", Form.OBJECT_OF_SCHEMA),
        (Form.STRICT, "unknown parameter: response_format", Form.TEXT),
        (Form.OBJECT_OF_SCHEMA, "unknown parameter: 'response_format.schema'", Form.OBJECT),
        (Form.OBJECT_OF_SCHEMA, "'response_format.type' must be 'json_schema' or 'text'", Form.TEXT),
        (Form.OBJECT, "", Form.TEXT),
        (Form.TEXT, "", Form.TEXT),
    ],
)
def test_the_ladder_goes_down(form: Form, words: str, below: Form) -> None:
    assert form.next(words) is below


def test_each_form_is_asked_for_in_its_way() -> None:
    assert [response_format(form, SCHEMA) for form in Form] == [
        {"type": "json_schema", "json_schema": {"name": "answers", "strict": True, "schema": SCHEMA}},
        {"type": "json_object", "schema": SCHEMA},
        {"type": "json_object"},
        {},
    ]


def test_the_form_in_words_ends_the_first_message() -> None:
    [system, user] = tell_form([Message("system", "Label."), Message("user", "tickets")], SCHEMA)

    assert user == Message("user", "tickets")
    assert system.content == (
        "Label.\n\nReply with one JSON object of exactly this form and with nothing else:\n"
        '{"answers": [{"id": <integer>, "comment": "<text>", "label_1": "<id>", "labels_2": ["<id>", ...], '
        '"confidence": <number>}, ...]}'
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"answers": []}', True),
        ('Sure!\n```json\n{"answers": [{"id": 1}]}\n```', True),
        ('I think {so}: {"answers": []}', False),
        ('{"a": 1} {"answers": []}', True),
        ('{"answer": []}', False),
        ('{"answers": [', False),
        ("It is about money.", False),
        ("[1]", False),
        ("", False),
    ],
)
def test_a_reply_follows_if_it_has_the_object_anywhere(text: str, expected: bool) -> None:
    assert follows(text, SCHEMA) is expected


@given(st.text(alphabet='{}[]":,answers1 \\') | st.recursive(st.just("{"), lambda inner: inner.map(lambda x: x * 2)))
def test_no_reply_upsets_the_reader(text: str) -> None:
    assert follows(text, SCHEMA) in {True, False}


@pytest.mark.parametrize(
    ("follow", "form"),
    [
        ([False], Form.STRICT),
        ([False, False], Form.OBJECT_OF_SCHEMA),
        ([False, True, False], Form.OBJECT_OF_SCHEMA),
        ([True, True, False, False], Form.STRICT),
        ([True] * 50 + [False] * 20, Form.STRICT),
        ([False] * 4, Form.OBJECT),
        ([False] * 20, Form.TEXT),
    ],
)
def test_a_form_that_most_replies_ignore_is_given_up(follow: Sequence[bool], form: Form) -> None:
    assert told(follow) is form


@given(st.lists(st.sampled_from(FEATURES), max_size=12))
def test_whatever_is_refused_what_is_sent_only_shrinks_and_is_kept_whole(refused: list[str]) -> None:
    now = Capabilities(accepted=frozenset(FEATURES))
    for feature in refused:
        sent = now.sent(with_length=True, with_logprobs=True)
        if feature in sent:
            now = now.without(feature)
            assert now.sent(with_length=True, with_logprobs=True) <= sent
            assert feature not in now.accepted
    assert Capabilities.unpacked(now.packed()) == now


def test_what_one_process_learned_another_knows() -> None:
    memory = Kept()

    async def learn() -> Capabilities:
        learned = Learned("server", "openai", memory)
        async with learned.asking(with_length=False, with_logprobs=False):
            by = learned.now
            await learned.refused("temperature", by, by.without("temperature"))
            await learned.accepted(frozenset({"form"}), learned.now)
        return learned.now

    async def know() -> Capabilities:
        learned = Learned("server", "openai", memory)
        async with learned.asking(with_length=False, with_logprobs=False):
            return learned.now

    now = asyncio.run(learn())

    assert now == replace(Capabilities(), temperature=False, accepted=frozenset({"form"}))
    assert asyncio.run(know()) == now


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '[9, true, "", true, []]', '[0, true, "x", true, []]'])
def test_what_cannot_be_read_is_not_known(text: str) -> None:
    memory = Kept()
    memory.values["capabilities:server"] = text

    async def know() -> Capabilities:
        learned = Learned("server", "openai", memory)
        async with learned.asking(with_length=False, with_logprobs=False):
            return learned.now

    assert asyncio.run(know()) == Capabilities()


def test_what_was_accepted_is_given_up_when_it_is_refused_again() -> None:
    async def forms() -> list[Form]:
        learned = Learned("server", "openai", NoMemory())
        seen = []
        for is_refused in (False, True, False, True, True):
            by = learned.now
            if is_refused:
                await learned.refused("form", by, by.without("form"))
            else:
                await learned.accepted(frozenset({"form"}), by)
            seen.append(learned.now.form)
        return seen

    assert asyncio.run(forms()) == [*[Form.STRICT] * 4, Form.OBJECT_OF_SCHEMA]


@pytest.mark.parametrize(
    ("accepted", "form"),
    [(frozenset({"form"}), Form.STRICT), (frozenset[str](), Form.OBJECT_OF_SCHEMA)],
    ids=["one doubt", "one rung"],
)
def test_requests_that_were_refused_at_once_count_as_one(accepted: frozenset[str], form: Form) -> None:
    async def refused_at_once() -> Form:
        learned = Learned("server", "openai", NoMemory())
        await learned.accepted(accepted, learned.now)
        by = learned.now
        for _ in range(3):
            await learned.refused("form", by, by.without("form"))
        return learned.now.form

    assert asyncio.run(refused_at_once()) is form


def test_after_a_refusal_without_a_reason_what_is_not_accepted_is_suspected() -> None:
    learned = Learned("server", "openai", NoMemory())
    learned.now = replace(learned.now, accepted=frozenset({"temperature"}))
    features = learned.now.sent(with_length=False, with_logprobs=True)

    found = learned.suspects(learned.now, features)

    assert [(name, by.form, by.logprobs) for name, by in found] == [
        ("logprobs", Form.STRICT, False),
        ("form", Form.OBJECT_OF_SCHEMA, True),
        ("form", Form.TEXT, True),
    ]
