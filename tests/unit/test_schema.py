"""The schema of a reply, and the ids by which labels stand in it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.schema import answer_keys, fold, label_ids, reply_schema
from prelabel.core.types import Choices, Label

LOOKS_LIKE_AN_ID = st.sampled_from(
    ["1", "2", " 2 ", "\uff12", "l1", "L2", "ID1", "id2", "id_1", "idx2", "2.", "(1)", "none", "None.", "Refund"]
)
LABELS = st.builds(Label, LOOKS_LIKE_AN_ID, LOOKS_LIKE_AN_ID, aliases=st.lists(LOOKS_LIKE_AN_ID, max_size=2).map(tuple))
QUESTIONS = st.builds(
    Choices,
    st.just("intent"),
    st.just("text"),
    st.lists(LABELS, min_size=1, max_size=5).map(tuple),
    st.booleans(),
    st.booleans(),
)


def question(*names: str, multiple: bool = False) -> Choices:
    return Choices("intent", "text", tuple(Label(name, name) for name in names), multiple=multiple)


def strict(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def objects_in(schema: Any) -> list[dict[str, Any]]:
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    found = [item for child in inner for item in objects_in(child)]
    return [schema, *found] if isinstance(schema, dict) and schema.get("type") == "object" else found


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["Refund", "Delivery"], ["1", "2"]),
        (["5", "Delivery"], ["1", "2"]),
        (["Delivery", "1"], ["L1", "L2"]),
        (["Delivery", " 2 "], ["L1", "L2"]),
        (["1", "l2"], ["id1", "id2"]),
        (["1", "L1", "ID2"], ["idx1", "idx2", "idx3"]),
        (["1", "L1", "id_1", "IDX1"], ["idxx1", "idxx2", "idxx3", "idxx4"]),
        (["5.", "(4)", "3)", "#2"], ["L1", "L2", "L3", "L4"]),
    ],
)
def test_ids_are_numbers_unless_a_label_is_named_like_one(names: list[str], ids: list[str]) -> None:
    found = label_ids(question(*names).labels)

    assert [(label_id, label.text) for label_id, label in found.items()] == [*zip(ids, names, strict=True)]


def test_an_alias_named_like_an_id_counts_as_well() -> None:
    label = Label("Refund", "Refund", aliases=("1",))

    assert label_ids([label]) == {"L1": label}


def test_a_fullwidth_digit_is_named_like_an_id() -> None:
    """Models write a plain 5 for it, which must not be taken for the fifth label."""
    labels = tuple(Label(digit, digit) for digit in "\uff15\uff14\uff13\uff12\uff11")

    assert list(label_ids(labels)) == ["L1", "L2", "L3", "L4", "L5"]


@given(QUESTIONS)
def test_no_id_is_ever_another_labels_name(question: Choices) -> None:
    names = {name for label in question.labels for name in (label.value, label.text, *label.aliases)}
    ids = label_ids(question.labels)

    assert {fold(name) for name in names}.isdisjoint(map(fold, ids))
    assert list(ids.values()) == list(question.labels)


def test_a_lone_question_is_answered_under_label_or_labels() -> None:
    single, multiple = question("a"), question("a", multiple=True)

    assert answer_keys([single]) == {"label": single}
    assert answer_keys([multiple]) == {"labels": multiple}


def test_several_questions_are_numbered() -> None:
    single, multiple = question("a"), question("a", multiple=True)

    assert answer_keys([single, multiple, single]) == {"label_1": single, "labels_2": multiple, "label_3": single}


def test_a_single_choice_may_be_answered_with_none() -> None:
    schema = reply_schema([question("Refund", "Delivery")])

    answer = strict(
        id={"type": "integer"}, label={"type": "string", "enum": ["1", "2", "none"]}, confidence={"type": "number"}
    )
    assert schema == strict(answers={"type": "array", "items": answer})


def test_a_comment_comes_before_the_labels_it_weighs_in_on() -> None:
    schema = reply_schema([question("Refund", multiple=True)], with_comment=True)

    answer = strict(
        id={"type": "integer"},
        comment={"type": "string"},
        labels={"type": "array", "items": {"type": "string", "enum": ["1"]}},
        confidence={"type": "number"},
    )
    assert schema == strict(answers={"type": "array", "items": answer})
    assert list(schema["properties"]["answers"]["items"]["properties"]) == ["id", "comment", "labels", "confidence"]


@given(st.lists(QUESTIONS, min_size=1, max_size=3), st.booleans())
def test_every_object_is_strict_as_openai_wants_it(questions: list[Choices], with_comment: bool) -> None:
    found = objects_in(reply_schema(questions, with_comment=with_comment))

    assert len(found) == 2
    for item in found:
        assert item["additionalProperties"] is False
        assert item["required"] == list(item["properties"])
