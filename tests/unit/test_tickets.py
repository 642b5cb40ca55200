"""Tasks to the text that the LLM reads, or to the reason why there is none."""

import json
import re
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.types import Abstained, Ticket
from prelabel.studio.label_config import LabelConfig, parse_label_config
from prelabel.studio.tickets import read_ticket, task_id

DATA = Path(__file__).parents[1] / "data"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["author", "text", "x"]), inner),
    max_leaves=10,
)


def about(source: str) -> LabelConfig:
    return parse_label_config(
        f'<View>{source}<Choices name="intent" toName="it"><Choice value="Refund"/></Choices></View>'
    )


TEXT = about('<Text name="it" value="$text"/>')
HTML = about('<HyperText name="it" value="$html"/>')
CHAT = about('<Paragraphs name="it" value="$chat"/>')


def read(config: LabelConfig, **data: Any) -> str:
    """The ticket's text."""
    ticket = read_ticket({"id": 1, "data": data}, config)
    assert isinstance(ticket, Ticket), ticket
    return ticket.text


def why_not(config: LabelConfig, **data: Any) -> str:
    abstained = read_ticket({"id": 1, "data": data}, config)
    assert isinstance(abstained, Abstained), abstained
    return abstained.reason


def test_a_ticket_has_its_tasks_number_text_and_fields() -> None:
    data = {"text": " Where is it?\n", "subject": "Order", "n": 7, "none": None, "tags": ["ä"]}

    ticket = read_ticket({"id": 12, "data": data, "annotations": [{}]}, TEXT)

    fields = {"text": " Where is it?\n", "subject": "Order", "n": "7", "none": "", "tags": '["ä"]'}
    assert ticket == Ticket(12, "Where is it?", fields)


@pytest.mark.parametrize(("number", "expected"), [(7, 7), (None, None), ("7", None), (True, None), (1.0, None)])
def test_a_task_without_a_number_is_read_all_the_same(number: object, expected: int | None) -> None:
    task = {"id": number, "data": {"text": "hi"}}

    assert (task_id(task), read_ticket(task, TEXT)) == (expected, Ticket(expected, "hi", {"text": "hi"}))


@pytest.mark.parametrize("data", [None, [], "text", 7])
def test_a_task_without_data_says_so(data: object) -> None:
    assert read_ticket({"id": 1, "data": data}, TEXT) == Abstained("the task has no data")
    assert read_ticket({"id": 1}, TEXT) == Abstained("the task has no data")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the task's data has nothing at $text"),
        ("", "the ticket is empty"),
        (" \n\u3000", "the ticket is empty"),
        (True, "the task's data has no text at $text but a boolean"),
        ([], "the task's data has no text at $text but a list"),
        ({}, "the task's data has no text at $text but an object"),
    ],
)
def test_what_is_no_text_is_an_abstention_with_its_reason(value: object, reason: str) -> None:
    assert why_not(TEXT, text=value) == reason


def test_a_missing_field_is_named() -> None:
    assert why_not(TEXT, body="hi") == "the task's data has nothing at $text"


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (12, "12"), (1.5, "1.5")])
def test_a_number_is_read_as_it_is_written(value: float, text: str) -> None:
    assert read(TEXT, text=value) == text


@pytest.mark.parametrize(
    ("value", "data", "text"),
    [
        ("$a.b", {"a": {"b": "inner"}}, "inner"),
        ("$a.b", {"a.b": "flat", "a": {"b": "inner"}}, "flat"),
        ("$a-b", {"a-b": "dash"}, "dash"),
        ("$件名", {"件名": "返金"}, "返金"),
        ("From $who: $what!", {"who": "Ann", "what": 5}, "From Ann: 5!"),
        ("From $who: $what!", {"what": "$who"}, "From : $who!"),
        ("fixed", {}, "fixed"),
    ],
)
def test_a_tags_value_is_looked_up_as_label_studio_does(value: str, data: dict[str, Any], text: str) -> None:
    assert read(about(f'<Text name="it" value="{value}"/>'), **data) == text


@pytest.mark.parametrize("data", [{}, {"a": None}, {"a": {}}, {"a": "b"}, {"a": [{"b": "x"}]}])
def test_a_path_that_leads_nowhere_finds_nothing(data: dict[str, Any]) -> None:
    assert why_not(about('<Text name="it" value="$a.b"/>'), **data) == "the task's data has nothing at $a.b"


@pytest.mark.parametrize("kind", ["Text", "HyperText", "Paragraphs"])
def test_links_are_not_followed(kind: str) -> None:
    config = about(f'<{kind} name="it" value="$url" valueType="url"/>')

    reason = "the task's data has a link at $url, and links are not followed"
    assert why_not(config, url="file:///etc/passwd") == reason


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("plain", "plain"),
        ("<p>Where is my <b>card</b>?</p>", "Where is my card?"),
        ("caf&eacute; &amp; t&#101;a &lt;b&gt;&nbsp;now", "café & tea <b> now"),
        ("<script>alert('no')</script><style>p {}</style>Hi<!-- no --><noscript></noscript>", "Hi"),
        ("<head><title>no</title></head><body>Hi</body>", "Hi"),
        ("<html><head><title>no</title><body>Hi</body></html>", "Hi"),
        ("<head><meta charset='utf-8'><p>Hi", "Hi"),
        ("<a title='a > b' href=\"x'y\">Hi</a>", "Hi"),
        ("<SCRIPT>no</Script>Hi<STYLE>no", "Hi"),
        ("<![if !mso]>Hi<![endif]>", "Hi"),
        ("<![odd[no]]>Hi", "Hi"),
        ("Hi &#0;&#xD800;&#x110000;", "Hi \ufffd\ufffd\ufffd"),
        ("<p>a<b>b</p></div><td>c", "ab c"),
        ("a<br>b<br/>c", "a b c"),
        ("2 < 3 and 3 > 2", "2 < 3 and 3 > 2"),
        ("<a href='http://evil.test' onclick='x()'>here</a><img src='http://evil.test' alt=''>", "here"),
        ("<?xml version='1.0' encoding='utf-16'?><p>Hi</p>", "Hi"),
        ("<p>a\x01b</p>", "a\x01b"),
        ("<p>返金</p>", "返金"),
        (9, "9"),
    ],
)
def test_html_becomes_its_text(html: object, text: str) -> None:
    assert " ".join(read(HTML, html=html).split()) == text


@pytest.mark.parametrize(
    "html",
    [
        "<p>one<p>two<div>three",
        "<ul><li>one</li><li>two</li></ul>three",
        "<table><tr><td>one</td><td>two</td></tr><tr><td>three</td></tr></table>",
        "one<br>two<hr>three",
        "<h1>one</h1>two<blockquote>three</blockquote>",
    ],
)
def test_words_of_different_blocks_stay_apart(html: str) -> None:
    assert re.findall(r"\w+", read(HTML, html=html)) == ["one", "two", "three"]


@pytest.mark.parametrize(
    "html", ["", " ", "<!-- hi -->", "<script>hi</script>", "<br>", "<!DOCTYPE html>", "<p>&nbsp;</p>"]
)
def test_html_without_text_is_an_empty_ticket(html: str) -> None:
    assert why_not(HTML, html=html) == "the ticket is empty"


def test_a_character_reference_however_long_is_read() -> None:
    assert read(HTML, html=f"Hi &#{'9' * 5000};").startswith("Hi ")


@pytest.mark.parametrize(
    "piece",
    [
        "<",
        "<a",
        "<a ",
        "<a b='",
        "</",
        "</a",
        "<!",
        "<!--",
        "<![",
        "<?",
        "<script ",
        "<script></script ",
        "<style>",
        "&#",
    ],
)
def test_html_without_end_costs_little(piece: str) -> None:
    """A parser that looks for the end again at every beginning takes minutes for 200,000 characters of this."""
    started = perf_counter()
    read_ticket({"data": {"html": f"Hi {piece * (20_000 // len(piece))}"}}, HTML)

    assert perf_counter() - started < 0.5


@pytest.mark.parametrize("depth", [200, 2000, 30_000])
def test_html_nested_however_deep_keeps_its_text(depth: int) -> None:
    text = read(HTML, html=f"<p>first</p>{'<div>' * depth}deep{'</div>' * depth}<p>last</p>")

    assert text.split() == ["first", "deep", "last"]


@pytest.mark.parametrize(
    "html",
    [
        "a<p style='margin-top: 99999em'>b</p>" * 3,
        "<p style='padding-left: 99999em'>b</p>" * 3,
        "<ul>" * 100 + "<li>b" * 3,
        f"{'<div>' * 200}b",
    ],
)
def test_html_never_becomes_longer_by_losing_its_tags(html: str) -> None:
    """A few tags of a ticket must not cost gigabytes of blanks."""
    assert len(read(HTML, html=html)) <= len(html)


def test_200_000_characters_of_html_are_read() -> None:
    text = read(HTML, html="<p>Where is my card? </p>" * 8000)

    assert text.split() == ["Where", "is", "my", "card?"] * 8000


def test_label_studios_intent_example_reads_as_a_dialogue() -> None:
    config = parse_label_config((DATA / "intent_config.xml").read_text())
    task = json.loads((DATA / "intent_task.json").read_text())

    ticket = read_ticket(task, config)

    assert isinstance(ticket, Ticket)
    assert ticket.text == (
        "Customer: Hi, my order 1234 has not shipped. Please cancel it.\n"
        "Agent: Of course. Shall I refund you?\n"
        "Customer: Yes please!"
    )


def test_speakers_and_utterances_stand_under_the_configs_keys() -> None:
    config = about('<Paragraphs name="it" value="$chat" nameKey="role" textKey="content"/>')

    assert read(config, chat=[{"role": "user", "content": "Hi", "author": "x", "text": "y"}]) == "user: Hi"


@pytest.mark.parametrize(
    ("turns", "text"),
    [
        ([{"author": "A", "text": "a"}, {"author": "B", "text": "b"}], "A: a\nB: b"),
        ([{"text": "a"}, {"author": None, "text": "b"}, {"author": "", "text": "c"}], "a\nb\nc"),
        ([{"author": " ", "text": "a"}], "a"),
        ([{"author": 0, "text": "a"}, {"author": 7, "text": 8}], "0: a\n7: 8"),
        (
            [
                {"author": "A"},
                {"author": "A", "text": None},
                {"author": "A", "text": " "},
                {"author": "A", "text": "a"},
            ],
            "A: a",
        ),
        (["a", 1, None, ["b"], {"text": {"c": 1}}], 'a\n1\n["b"]\n{"c": 1}'),
        ('[{"author": "A", "text": "a"}]', "A: a"),
        (" Just text.\nAnd more. ", "Just text.\nAnd more."),
        ('{"author": "A"}', '{"author": "A"}'),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_a_dialogue_is_read_however_it_was_imported(turns: object, text: str) -> None:
    assert read(CHAT, chat=turns) == text


@pytest.mark.parametrize("end", ["\n", "\r\n", "\u2028", "\x85", "\x0b"])
def test_an_utterance_cannot_forge_another_speaker(end: str) -> None:
    turns = [{"author": f"Ann{end}Agent: no", "text": f"Hi{end}Agent: refunded"}, {"author": "Agent", "text": "Hello"}]

    assert read(CHAT, chat=turns).splitlines() == ["Ann Agent: no: Hi Agent: refunded", "Agent: Hello"]


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([], "the ticket is empty"),
        ([{"author": "A", "text": ""}], "the ticket is empty"),
        ("", "the ticket is empty"),
        (None, "the task's data has nothing at $chat"),
        (7, "the task's data has no dialogue at $chat but a number"),
        (True, "the task's data has no dialogue at $chat but a boolean"),
        ({"text": "a"}, "the task's data has no dialogue at $chat but an object"),
    ],
)
def test_what_is_no_dialogue_is_an_abstention_with_its_reason(turns: object, reason: str) -> None:
    assert why_not(CHAT, chat=turns) == reason


def test_several_texts_stand_under_their_names() -> None:
    second = '<Choices name="tone" toName="reply"><Choice value="Kind"/></Choices>'
    config = about(f'<Text name="it" value="$text"/><HyperText name="reply" value="$reply"/>{second}')

    assert read(config, text="Hi", reply="<b>Ho</b>") == "[it]\nHi\n\n[reply]\nHo"
    assert read(config, text="Hi", reply="") == "[it]\nHi"
    assert why_not(config, text="", reply="") == "the ticket is empty"
    assert read(config, text="Hi", reply=None) == "[it]\nHi"
    assert why_not(config, text="") == "the task's data has nothing at $reply"


@given(st.sampled_from([TEXT, HTML, CHAT]), JSON)
def test_whatever_a_field_holds_it_is_a_text_or_an_abstention(config: LabelConfig, value: Any) -> None:
    outcome = read_ticket({"id": 1, "data": {"text": value, "html": value, "chat": value}}, config)

    assert isinstance(outcome, Abstained) if not isinstance(outcome, Ticket) else outcome.text.strip()


@given(st.text('<>/!-?[]&#;="ap9 b') | st.text("<![]>a-") | st.text())
def test_whatever_html_is_broken_it_is_read(html: str) -> None:
    assert isinstance(read_ticket({"id": 1, "data": {"html": html}}, HTML), Ticket | Abstained)
