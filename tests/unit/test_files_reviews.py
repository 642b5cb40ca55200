"""What is asked about, what is passed on as reviewed, and what is left out."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from prelabel.core.types import Example
from prelabel.errors import RequestError
from prelabel.files.reviews import Reviewed, Sorter, find_label_columns
from prelabel.files.rows import Malformed, Row, check_columns
from prelabel.studio.label_config import parse_label_config

SINGLE = """<View><Text name="text" value="$text"/><Choices name="intent" toName="text">
<Choice value="refund"/><Choice value="Where is my parcel?" alias="shipping"/><Choice value="other"/>
</Choices></View>"""
MULTIPLE = """<View><Text name="text" value="$text"/><Choices name="topics" toName="text" choice="multiple">
<Choice value="refund"/><Choice value="shipping"/><Choice value="a, b; c"/><Choice value="2"/>
</Choices></View>"""
TWO = """<View><HyperText name="mail" value="$mail.body"/>
<Choices name="intent" toName="mail"><Choice value="refund"/><Choice value="other"/></Choices>
<Choices name="mood" toName="mail"><Choice value="calm"/><Choice value="angry"/></Choices></View>"""
DIALOGUE = """<View><Paragraphs name="chat" value="$chat" layout="dialogue"/>
<Choices name="intent" toName="chat"><Choice value="refund"/><Choice value="other"/></Choices></View>"""


def sort(
    data: Mapping[str, Any],
    config: str = SINGLE,
    annotations: Sequence[Mapping[str, Any]] = (),
    label_column: str | None = None,
) -> Row | Reviewed | Malformed:
    parsed = parse_label_config(config)
    sorter = Sorter(parsed, find_label_columns(parsed, label_column, tuple(data)))
    [found] = sorter.sort([Row(1, 2, data, tuple(annotations))])
    return found


def chosen(found: Row | Reviewed | Malformed) -> dict[str, list[str]]:
    """What the one annotation that was made of a row says."""
    assert isinstance(found, Reviewed)
    [annotation] = found.annotations
    return {region["from_name"]: region["value"]["choices"] for region in annotation["result"]}


def annotation(*labels: str, name: str = "intent", **more: Any) -> dict[str, Any]:
    region = {"from_name": name, "to_name": "text", "type": "choices", "value": {"choices": list(labels)}}
    return {"id": 5, "result": [region] if labels else [], **more}


@pytest.mark.parametrize("cell", ["", "  ", None, [], {"choices": []}])
def test_a_row_without_a_label_is_to_be_asked_about(cell: object) -> None:
    assert isinstance(sort({"text": "hello", "intent": cell}), Row)
    assert isinstance(sort({"text": "hello"}), Row)


def test_a_filled_label_column_becomes_a_whole_annotation_and_an_example() -> None:
    found = sort({"text": "hello", "intent": "shipping"})

    assert isinstance(found, Reviewed)
    [made] = found.annotations
    [region] = made["result"]
    assert {**region, "id": ""} == {
        "id": "",
        "from_name": "intent",
        "to_name": "text",
        "type": "choices",
        "value": {"choices": ["shipping"]},
        "origin": "manual",
    }
    assert region["id"]
    assert found.example == Example(1, "hello", {"intent": ("shipping",)})
    assert found.row.data == {"text": "hello", "intent": "shipping"}


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("refund", ["refund"]),
        (" Refund ", ["refund"]),
        ("where is my parcel", ["shipping"]),
        (["refund"], ["refund"]),
        ({"choices": ["refund"]}, ["refund"]),
        ('{"choices": ["refund"]}', ["refund"]),
    ],
)
def test_a_label_is_known_by_its_value_or_its_text(cell: object, labels: list[str]) -> None:
    assert chosen(sort({"text": "hello", "intent": cell})) == {"intent": labels}


@pytest.mark.parametrize(
    "cell", ["refnd", "1", 1, True, 1.5, ["refund", "other"], "refund; other", {"a": 1}, "{", "[1]"]
)
def test_what_is_not_one_label_of_the_config_is_malformed(cell: object) -> None:
    found = sort({"text": "hello", "intent": cell})

    assert isinstance(found, Malformed)
    assert found.reason.startswith("its 'intent' is ")
    assert found.reason.endswith("which is not one of the config's labels")


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("refund", ["refund"]),
        ("shipping;refund", ["refund", "shipping"]),
        ("shipping | refund |", ["refund", "shipping"]),
        ("Refund, Shipping", ["refund", "shipping"]),
        ("a, b; c", ["a, b; c"]),
        ('["shipping", "2"]', ["shipping", "2"]),
        ({"choices": ["shipping", "shipping"]}, ["shipping"]),
        (2, ["2"]),
    ],
)
def test_a_multiple_choice_may_be_written_in_many_ways(cell: object, labels: list[str]) -> None:
    assert chosen(sort({"text": "hello", "topics": cell}, MULTIPLE)) == {"topics": labels}


def test_one_unknown_label_among_several_is_malformed() -> None:
    found = sort({"text": "hello", "topics": "refund;shiping"}, MULTIPLE)

    assert found == Malformed(1, 2, "its 'topics' is \"refund;shiping\", which is not of the config's labels")


def test_each_question_is_answered_by_the_column_of_its_name() -> None:
    found = sort({"mail": {"body": "<b>Hi</b>"}, "intent": "", "mood": "angry"}, TWO)

    assert chosen(found) == {"mood": ["angry"]}
    assert isinstance(found, Reviewed)
    assert found.example == Example(1, "Hi", {"intent": (), "mood": ("angry",)})


def test_labels_may_stand_in_a_column_of_another_name_or_nowhere() -> None:
    data = {"text": "hello", "intent": "refund", "truth": "other"}

    assert chosen(sort(data, label_column="truth")) == {"intent": ["other"]}
    assert isinstance(sort(data, label_column=""), Row)


@pytest.mark.parametrize(
    ("config", "wanted", "message"),
    [
        (SINGLE, "truht", "there is no column 'truht'; there are: text, truth"),
        (SINGLE, "text", "the label config shows 'text' as the ticket's text"),
        (TWO, "truth", "the label config asks 2 questions (intent, mood): name the columns as they are"),
    ],
)
def test_a_label_column_that_cannot_be_one_is_refused(config: str, wanted: str, message: str) -> None:
    with pytest.raises(RequestError) as refused:
        find_label_columns(parse_label_config(config), wanted, ("text", "truth"))

    assert str(refused.value) == message


def test_the_text_itself_is_never_taken_for_labels() -> None:
    config = parse_label_config(SINGLE.replace("$text", "$intent"))

    assert find_label_columns(config, None, ("intent",)) == {}


def test_an_annotated_task_is_reviewed_by_its_newest_annotation() -> None:
    first = annotation("refund", updated_at="2026-11-21T10:00:00Z")
    second = annotation("other", updated_at="2026-11-21T09:00:00Z")

    found = sort({"text": "hello", "intent": "bogus"}, annotations=[first, second])

    assert isinstance(found, Reviewed)
    assert found.annotations == (first, second)
    assert found.example == Example(1, "hello", {"intent": ("refund",)})


@pytest.mark.parametrize(
    "nothing_learned",
    [
        annotation(),
        annotation("gone"),
        annotation("refund", parent_prediction=3),
        annotation("refund", name="other_control"),
    ],
)
def test_what_no_person_chose_or_no_label_of_the_config_is_passed_on_but_no_example(
    nothing_learned: Mapping[str, Any],
) -> None:
    found = sort({"text": "hello"}, annotations=[nothing_learned])

    assert isinstance(found, Reviewed)
    assert found.example is None


def test_a_skipped_task_is_asked_about() -> None:
    assert isinstance(sort({"text": "hello"}, annotations=[annotation("refund", was_cancelled=True)]), Row)


def test_a_reviewed_row_without_text_is_no_example() -> None:
    found = sort({"text": " ", "intent": "refund"})

    assert isinstance(found, Reviewed)
    assert found.example is None


@pytest.mark.parametrize(
    ("data", "config", "reason"),
    [
        ({"body": "hello"}, SINGLE, "it has no 'text', which the label config shows"),
        ({"text": None}, SINGLE, "its 'text' is null, which the label config cannot show as text"),
        ({"text": {"a": 1}}, SINGLE, "its 'text' is {\"a\": 1}, which the label config cannot show as text"),
        ({"chat": 5}, DIALOGUE, "its 'chat' is 5, which the label config cannot show as paragraphs"),
    ],
)
def test_what_label_studio_would_refuse_is_malformed(data: Mapping[str, Any], config: str, reason: str) -> None:
    assert sort(data, config) == Malformed(1, 2, reason)


@pytest.mark.parametrize("value", ["", "hello", 5, 1.5, ["a"]])
def test_what_label_studio_takes_is_taken(value: object) -> None:
    assert isinstance(sort({"text": value}), Row)


def test_a_dialogue_in_a_table_becomes_one_that_label_studio_shows() -> None:
    found = sort({"chat": '[{"author": "Ann", "text": "Hi"}]', "intent": ""}, DIALOGUE)

    assert isinstance(found, Row)
    assert found.data == {"chat": [{"author": "Ann", "text": "Hi"}], "intent": ""}


def test_a_table_without_the_column_that_is_shown_is_refused_at_once() -> None:
    config = parse_label_config(SINGLE)

    with pytest.raises(
        RequestError, match=r"^it has no 'text', which the label config shows; its columns are body, id$"
    ):
        check_columns(("body", "id"), config)
    check_columns(("text",), config)
    check_columns((), config)


def test_the_same_data_has_the_same_key_whatever_its_order_or_place() -> None:
    assert Row(1, 2, {"a": 1, "b": "x"}).key == Row(5, 9, {"b": "x", "a": 1}).key
    assert Row(1, 2, {"a": 1}).key != Row(1, 2, {"a": "1"}).key
