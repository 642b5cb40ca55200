"""Whatever an LLM replies, an answer is one of the config's labels or there is none."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.parse import parse_reply, read_answer, read_confidence
from prelabel.core.schema import answer_keys, label_ids
from prelabel.core.signals import Grounds
from prelabel.core.types import Abstained, Choices, Label, Labeled
from tests.unit.answers import said

REFUND, LATE, NONE = (
    Label("refund", "Refund", aliases=("money back",)),
    Label("late", "Late delivery"),
    Label("none", "None"),
)
SINGLE = Choices("intent", "text", (REFUND, LATE))
WITH_NONE = Choices("intent", "text", (REFUND, NONE))
MULTIPLE = Choices("topics", "text", (REFUND, LATE), multiple=True)
REQUIRED = Choices("topics", "text", (REFUND, LATE), multiple=True, required=True)
NO_LABEL = Abstained("the LLM says that no label fits")

REFUNDED = said({"intent": ("refund",)}, 0.9)
DELAYED = said({"intent": ("late",)}, 0.9)
UNSTATED = Labeled({"intent": ("refund",)}, 0.5, grounds={"intent": Grounds("llm")})

KEYS = st.sampled_from(["answers", "id", "label", "labels", "label_1", "labels_2", "confidence", "comment"])
WORDS = st.sampled_from(["1", "2", "3", "none", "Refund", "refund", "MONEY BACK", "late delivery", "NaN", "0.9", ""])
SCALARS = st.none() | st.booleans() | st.integers(-1, 4) | st.floats() | WORDS | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner), max_leaves=25)
ANSWER = st.fixed_dictionaries({"id": st.integers(0, 4) | SCALARS}, optional={"label": JSON, "labels": JSON})
REPLIES = (
    st.text()
    | st.text('[]{}",:1')
    | JSON.map(json.dumps)
    | st.lists(ANSWER, max_size=5).map(lambda answers: json.dumps({"answers": answers}))
)
QUESTIONS = st.lists(st.sampled_from([SINGLE, WITH_NONE, MULTIPLE, REQUIRED]), min_size=1, max_size=3)


def answer(number: object = 1, label: object = "1", **more: object) -> dict[str, object]:
    return {"id": number, "label": label, "confidence": 0.9, **more}


def reply(*answers: object) -> str:
    return json.dumps({"answers": answers})


def test_answers_are_found_by_ticket_number_in_any_order() -> None:
    text = reply(answer(2, "2"), answer(1, "1"))

    assert parse_reply(text, [SINGLE], 2) == {1: REFUNDED, 2: DELAYED}


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "Sure! Here is what you asked for: {} I hope that helps.",
        "```json\n{}\n```",
        "```\n{}",
        "<think>Hm, [maybe {{a refund}}].</think>\n{}",
        "The answer [see below]:\n{}",
        "As for ticket [1]: {}",
        "I {{}} thought of [] this, then: {}",
        "\ufeff{}",
    ],
)
def test_json_is_found_in_whatever_stands_around_it(around: str) -> None:
    text = around.format(reply(answer()))

    assert parse_reply(text, [SINGLE], 1) == {1: REFUNDED}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([answer(1), answer(2)]),
        json.dumps({"note": "as asked", "answers": [answer(1), "and", answer(2), None]}),
        reply(answer("1"), answer("2")),
    ],
)
def test_answers_that_stray_from_the_schema_are_read(text: str) -> None:
    assert parse_reply(text, [SINGLE], 2) == {1: REFUNDED, 2: REFUNDED}


@pytest.mark.parametrize("text", ['{"label": "1", "confidence": 0.9}', '[{"label": 1, "confidence": "0.9"}]'])
def test_a_lone_ticket_needs_no_number(text: str) -> None:
    assert parse_reply(text, [SINGLE], 1) == {1: REFUNDED}
    assert parse_reply(text, [SINGLE], 2) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot label this.",
        "null",
        "[]",
        "{}",
        '"1"',
        "[1, 2]",
        '{"answers": {}}',
        '{"answers": [[]]}',
        '{"answers": [{"id": 1, "label": "1"',
    ],
)
def test_a_reply_without_whole_answers_answers_nothing(text: str) -> None:
    assert parse_reply(text, [SINGLE], 2) == {}


def test_a_reply_that_was_cut_off_keeps_what_is_whole() -> None:
    text = reply(answer(1), answer(2))[:-20]

    assert parse_reply(text, [SINGLE], 2) == {1: REFUNDED}


@pytest.mark.parametrize("number", [-1, 3, "x", None, True, [1], "1.5", 1e300])
def test_an_answer_to_no_ticket_is_left_out(number: object) -> None:
    assert parse_reply(reply(answer(number), answer(2)), [SINGLE], 2) == {2: REFUNDED}


def test_a_reply_that_counts_from_0_is_not_trusted() -> None:
    """Its 1 is the second ticket."""
    assert parse_reply(reply(answer(0), answer(1)), [SINGLE], 2) == {}


def test_a_lone_tickets_answer_may_be_numbered_from_0() -> None:
    assert parse_reply(reply(answer(0)), [SINGLE], 1) == {1: REFUNDED}


def test_a_lone_ticket_is_not_given_what_is_said_of_another() -> None:
    assert parse_reply(reply(answer(7)), [SINGLE], 1) == {}


def test_a_draft_gives_way_to_what_comes_last() -> None:
    draft, final = json.dumps([answer(1, "2"), answer(2, "2")]), json.dumps([answer(1), answer(2)])

    assert parse_reply(f"For example {draft}. Final: {final}", [SINGLE], 2) == {1: REFUNDED, 2: REFUNDED}


def test_a_draft_is_no_answer_where_the_answer_was_cut_off() -> None:
    text = f"{reply(answer(1, '2'), answer(2, '2'))} No: {reply(answer(1), answer(2))[:-20]}"

    assert parse_reply(text, [SINGLE], 2) == {}


def test_one_answer_a_line_is_read() -> None:
    lines = "\n".join(json.dumps(answer(number)) for number in (1, 2))

    assert parse_reply(lines, [SINGLE], 2) == {1: REFUNDED, 2: REFUNDED}


@pytest.mark.parametrize("second", ["1", "2", "Fax"])
def test_a_ticket_answered_twice_is_to_be_asked_again(second: str) -> None:
    answers = [answer(1), answer(2), answer(1, second)]

    assert parse_reply(reply(*answers), [SINGLE], 2) == {2: REFUNDED}
    assert parse_reply(reply(*reversed(answers)), [SINGLE], 2) == {2: REFUNDED}


@pytest.mark.parametrize(
    "written", ["refund", "Refund", "REFUND", "\uff32efund", "Money back", " 1 ", 1, ["1"], ["1", "Refund"]]
)
def test_a_label_may_be_given_by_name(written: object) -> None:
    assert read_answer(answer(label=written), [SINGLE]) == REFUNDED


@pytest.mark.parametrize(
    "written", ["Refunds", "Refnd", "late", "3", "", None, 1.0, {}, ["1", "2"], ["1", "Fax"], [["1"]]]
)
def test_what_is_no_label_is_no_answer(written: object) -> None:
    single = Choices("intent", "text", (REFUND, Label("delay", "Late delivery")))

    assert read_answer(answer(label=written), [single]) is None


def test_an_answer_without_labels_is_none() -> None:
    assert read_answer({"id": 1, "confidence": 0.9}, [SINGLE]) is None


@pytest.mark.parametrize("key", ["label", "labels"])
@pytest.mark.parametrize("written", ["2", ["2"]])
def test_a_lone_question_is_answered_under_singular_or_plural(key: str, written: object) -> None:
    item = {key: written, "confidence": 0.9}

    assert read_answer(item, [SINGLE]) == DELAYED
    assert read_answer(item, [MULTIPLE]) == said({"topics": ("late",)}, 0.9)


@pytest.mark.parametrize("written", ["none", " none ", ["none"], []])
def test_that_no_label_fits_is_an_abstention(written: object) -> None:
    assert read_answer(answer(label=written), [SINGLE]) == NO_LABEL


def test_a_label_called_none_is_a_label() -> None:
    assert read_answer(answer(label="none"), [WITH_NONE]) == said({"intent": ("none",)}, 0.9)
    assert read_answer(answer(label="2"), [WITH_NONE]) == said({"intent": ("none",)}, 0.9)


@pytest.mark.parametrize("written", [[], ["none"], "none"])
def test_an_empty_set_is_an_answer_unless_one_is_required(written: object) -> None:
    assert read_answer(answer(labels=written), [MULTIPLE]) == said({"topics": ()}, 0.9)
    assert read_answer(answer(labels=written), [REQUIRED]) == NO_LABEL


def test_labels_come_in_the_configs_order_without_duplicates() -> None:
    assert read_answer(answer(labels=["2", "Refund", 1, "late"]), [MULTIPLE]) == said(
        {"topics": ("refund", "late")}, 0.9
    )


@pytest.mark.parametrize("written", [["1", "Fax"], ["1", None], {"1": True}, None])
def test_one_unreadable_label_spoils_the_set(written: object) -> None:
    assert read_answer({"id": 1, "labels": written}, [MULTIPLE]) is None


def test_each_question_has_its_own_answer() -> None:
    item = {"label_1": "2", "labels_2": ["1"], "label_3": "none", "confidence": 0.9}

    assert read_answer(item, [SINGLE, MULTIPLE, Choices("tone", "text", (LATE,))]) == said(
        {"intent": ("late",), "topics": ("refund",)}, 0.9
    )


def test_several_questions_do_not_share_an_unnumbered_answer() -> None:
    assert read_answer({"label": "1", "label_1": "1", "confidence": 0.9}, [SINGLE, SINGLE]) is None


def test_no_label_for_any_question_is_an_abstention_with_the_llms_words() -> None:
    item = {"label_1": "none", "labels_2": [], "comment": "Spam."}

    assert read_answer(item, [SINGLE, REQUIRED]) == Abstained(NO_LABEL.reason, "Spam.")


def test_the_llms_words_come_along() -> None:
    assert read_answer(answer(comment="Wants money."), [SINGLE]) == said({"intent": ("refund",)}, 0.9, "Wants money.")


@pytest.mark.parametrize(
    ("stated", "score"),
    [
        (0.9, 0.9),
        (0, 0.0),
        (1, 1.0),
        ("0.9", 0.9),
        (1.7, 1.0),
        (85, 0.85),
        ("85%", 0.85),
        ("85 %", 0.85),
        ("0,85", 0.85),
        ("1%", 0.01),
        (2, 0.02),
        (1000, 1.0),
        (-1, 0.0),
    ],
)
def test_confidence_is_a_number_from_0_to_1_whatever_is_stated(stated: object, score: float) -> None:
    read = read_confidence(stated)

    assert (type(read), read) == (float, score)


@pytest.mark.parametrize("stated", [None, math.nan, math.inf, "nan", "high", "", True, [0.9], {}])
def test_what_is_no_confidence_is_none(stated: object) -> None:
    assert read_confidence(stated) is None
    assert read_answer(answer(confidence=stated), [SINGLE]) == UNSTATED


def test_a_missing_confidence_scores_half_and_speaks_for_nothing() -> None:
    assert parse_reply('{"id": 1, "label": "1"}', [SINGLE], 1) == {1: UNSTATED}


@pytest.mark.parametrize("text", ["[" * 200_000, "{" * 200_000, '{"a":' * 50_000, '["' * 50_000, "[1," * 50_000])
def test_brackets_without_end_cost_little(text: str) -> None:
    assert parse_reply(text, [SINGLE], 1) == {}


@given(REPLIES, QUESTIONS, st.integers(1, 3))
def test_whatever_is_replied_labels_are_the_configs_own(text: str, questions: list[Choices], count: int) -> None:
    answers = parse_reply(text, questions, count)

    assert set(answers) <= set(range(1, count + 1))
    offered = {question.name: [label.value for label in question.labels] for question in questions}
    for found in answers.values():
        if isinstance(found, Labeled):
            assert 0.0 <= found.score <= 1.0
            for name, values in found.labels.items():
                assert list(values) == [value for value in offered[name] if value in values]


@given(st.data())
def test_what_follows_the_schema_is_read_as_it_is_meant(data: st.DataObject) -> None:
    names = st.lists(st.text(max_size=5).map(str.strip).filter(bool), min_size=2, max_size=5, unique=True)
    tricky = st.lists(st.sampled_from(["1", "2", "3", "l1", "id2", "no", "a"]), min_size=2, max_size=5, unique=True)
    labels = tuple(Label(name, name) for name in data.draw(names | tricky))
    question = Choices("intent", "text", labels, multiple=data.draw(st.booleans()))
    chosen = data.draw(
        st.lists(st.sampled_from(labels), min_size=1, max_size=None if question.multiple else 1, unique=True)
    )
    ids = [label_id for label_id, label in label_ids(labels).items() if label in chosen]
    [key] = answer_keys([question])
    item: dict[str, Any] = {"id": 1, key: ids if question.multiple else ids[0], "confidence": 0.25}

    found = parse_reply(reply(item), [question], 1)

    assert found == {1: said({"intent": tuple(label.value for label in labels if label in chosen)}, 0.25)}
