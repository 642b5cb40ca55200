"""What annotations say, and who is behind them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.types import Annotation, LabelSource, Prediction
from prelabel.studio.annotations import (
    read_annotation,
    read_labels,
    read_past_prediction,
    read_prompt,
    read_regions,
    read_time,
)
from prelabel.studio.label_config import parse_label_config

CONFIG = parse_label_config("""<View>
  <Text name="text" value="$text"/>
  <TextArea name="prompt" toName="text"/>
  <TextArea name="response" toName="text"/>
  <Choices name="intent" toName="text"><Choice value="Refund"/><Choice value="Other"/></Choices>
  <Choices name="topics" toName="text" choice="multiple"><Choice value="Card"/><Choice value="App"/></Choices>
  <Rating name="stars" toName="text"/>
</View>""")
WITHOUT_PROMPT = parse_label_config(
    '<View><Text name="t" value="$t"/><Choices name="c" toName="t"><Choice value="a"/></Choices></View>'
)
TASK = {"id": 7, "data": {"text": "Where is my money?"}}
REFUND_SAID = Prediction({"intent": ("Refund",)}, 0.6, "v1")

OWN_USER = 99
MANUAL, TAKEN, CHANGED = "manual", "prediction", "prediction-changed"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["result", "value", "choices", "text", "from_name", "id", "origin"]), inner)
    ),
    max_leaves=12,
)


def region(name: str = "intent", *values: str, origin: str | None = MANUAL, kind: str = "choices") -> dict[str, Any]:
    body = {"from_name": name, "to_name": "text", "type": kind, "value": {kind: [*values]}}
    return {**body, "origin": origin} if origin else body


def typed(*texts: str, name: str = "prompt") -> dict[str, Any]:
    return {"from_name": name, "to_name": "text", "type": "textarea", "value": {"text": [*texts]}, "origin": MANUAL}


def annotation(*regions: Any, **more: Any) -> dict[str, Any]:
    return {"id": 5, "result": [*regions], "updated_at": "2026-11-03T10:00:00Z", "completed_by": 3, **more}


def learnt(given: dict[str, Any], **known: Any) -> Annotation:
    read = read_annotation(given, TASK, CONFIG, own_user=OWN_USER, **known)
    assert read is not None
    return read


def test_an_annotation_is_read_whole() -> None:
    given = annotation(
        typed("Be strict."), region("intent", "Refund"), region("topics", "Card", "App"), typed("hm", name="response")
    )

    read = read_annotation(given, TASK, CONFIG, predicted=REFUND_SAID)

    assert read == Annotation(
        id=5,
        task_id=7,
        text="Where is my money?",
        labels={"intent": ("Refund",), "topics": ("Card", "App")},
        source=LabelSource.PERSON,
        updated_at=1793700000.0,
        author=3,
        ground_truth=False,
        predicted=REFUND_SAID,
        correction=True,
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"was_cancelled": True},
        {"result": []},
        {"result": None},
        {"result": "Refund"},
        {"result": [typed("Be strict."), region("stars", "5"), None, 7]},
        {"result": [region("intent")]},
        {"id": None},
        {"id": "5"},
    ],
)
def test_there_is_nothing_to_learn_without_a_label_that_stands(changed: dict[str, Any]) -> None:
    assert read_annotation({**annotation(region("intent", "Refund")), **changed}, TASK, CONFIG) is None


@pytest.mark.parametrize("task", [{}, {"id": 7}, {"id": 7, "data": {"text": ""}}, {"id": "7", "data": {"text": "a"}}])
def test_there_is_nothing_to_learn_of_a_task_without_text_or_number(task: dict[str, Any]) -> None:
    assert read_annotation(annotation(region("intent", "Refund")), task, CONFIG) is None


@pytest.mark.parametrize(
    ("origin", "more", "source"),
    [
        (MANUAL, {}, LabelSource.PERSON),
        (TAKEN, {"parent_prediction": 1}, LabelSource.PERSON),
        (CHANGED, {"parent_prediction": 1}, LabelSource.PERSON),
        (None, {"parent_prediction": 1}, LabelSource.BULK_ACCEPTED),
        (None, {"parent_prediction": 1, "completed_by": OWN_USER}, LabelSource.BULK_ACCEPTED),
        (None, {"completed_by": OWN_USER}, LabelSource.BACKEND),
        (None, {"completed_by": {"id": OWN_USER}}, LabelSource.BACKEND),
        (None, {"completed_by": 3}, LabelSource.PERSON),
        (None, {"completed_by": None}, LabelSource.PERSON),
        (MANUAL, {"completed_by": OWN_USER}, LabelSource.PERSON),
    ],
)
def test_who_is_behind_a_label(origin: str | None, more: dict[str, Any], source: LabelSource) -> None:
    assert learnt(annotation(region("intent", "Refund", origin=origin), **more)).source is source


@pytest.mark.parametrize(
    ("origin", "parent", "source"),
    [
        (MANUAL, None, LabelSource.PERSON_BLIND),
        (None, None, LabelSource.PERSON_BLIND),
        (MANUAL, 1, LabelSource.PERSON_BLIND),
        (TAKEN, None, LabelSource.PERSON),
        (CHANGED, None, LabelSource.PERSON),
    ],
)
def test_a_withheld_task_is_labelled_blind_unless_a_suggestion_shows(
    origin: str | None, parent: int | None, source: LabelSource
) -> None:
    given = annotation(region("intent", "Refund", origin=origin), parent_prediction=parent)

    assert learnt(given, withheld=True).source is source


def test_without_a_user_of_its_own_nothing_is_the_backends() -> None:
    read = read_annotation(annotation(region("intent", "Refund", origin=None), completed_by=None), TASK, CONFIG)

    assert read is not None
    assert read.source is LabelSource.PERSON


@pytest.mark.parametrize(
    ("regions", "predicted", "correction"),
    [
        ([region("intent", "Refund", origin=TAKEN)], REFUND_SAID, False),
        ([region("intent", "Refund", origin=CHANGED)], None, True),
        ([region("intent", "Other")], REFUND_SAID, True),
        ([region("intent", "Other")], None, False),
        ([region("intent", "Refund"), region("topics", "Card")], REFUND_SAID, True),
        ([region("topics", "App", "Card")], Prediction({"topics": ("Card", "App"), "intent": ()}, 0.5, "v1"), False),
        ([region("intent", "Refund")], Prediction({}, 0.0, "v1"), True),
        ([region("intent", "Refund", origin=TAKEN), region("stars", "5", origin=CHANGED)], REFUND_SAID, False),
    ],
)
def test_what_a_person_changed_is_a_correction(
    regions: list[Any], predicted: Prediction | None, correction: bool
) -> None:
    assert learnt(annotation(*regions), predicted=predicted).correction is correction


@pytest.mark.parametrize(
    ("value", "author"), [(3, 3), ({"id": 3, "email": "a@b.c"}, 3), (None, None), ({}, None), ("3", None)]
)
def test_an_author_is_a_number_or_an_object(value: object, author: int | None) -> None:
    assert learnt(annotation(region("intent", "Refund"), completed_by=value)).author == author


def test_ground_truth_is_kept() -> None:
    assert learnt(annotation(region("intent", "Refund"), ground_truth=True)).ground_truth is True


def test_labels_are_those_of_the_questions_the_last_region_winning() -> None:
    regions = [
        region("intent", "Refund"),
        region("topics", "Card", "Card", "Gone"),
        region("stars", "5"),
        typed("p"),
        {"from_name": "intent"},
        {"from_name": "intent", "value": {"choices": "Refund"}},
        {"from_name": "topics", "value": {"choices": [None, 5]}},
        region("intent", "Other"),
    ]

    assert read_labels(regions, CONFIG) == {"intent": ("Other",), "topics": ("Card", "Gone")}


@pytest.mark.parametrize(
    ("regions", "prompt"),
    [
        ([typed("Be strict.")], "Be strict."),
        ([typed("first", " last \n")], "last"),
        ([{"from_name": "prompt", "value": {"text": "bare"}}], "bare"),
        ([typed("first"), region("intent", "Refund"), typed("last")], "last"),
        ([region("intent", "Refund"), typed("not me", name="response")], ""),
        ([typed()], ""),
        ([typed(" ")], ""),
        (
            [
                {"from_name": "prompt"},
                {"from_name": "prompt", "value": {"text": [5]}},
                {"from_name": "prompt", "value": 5},
            ],
            "",
        ),
        ([{"from_name": "prompt", "value": {"text": 5}}, typed("Be strict.")], "Be strict."),
        ([], ""),
    ],
)
def test_the_last_prompt_that_was_typed_counts(regions: list[Any], prompt: str) -> None:
    assert read_prompt(regions, CONFIG) == prompt


def test_a_prompt_can_be_stored_and_sent_whatever_was_typed() -> None:
    """Half an emoji is no text that Redis or an LLM's server would take."""
    assert read_prompt([typed("Be strict \ud83d")], CONFIG).encode().startswith(b"Be strict")


def test_there_is_no_prompt_where_the_config_has_no_field_for_it() -> None:
    assert read_prompt([typed("Be strict.")], WITHOUT_PROMPT) == ""


def test_the_prediction_that_an_annotation_was_made_from_is_found() -> None:
    listed: list[dict[str, Any]] = [
        {"id": 1, "result": [region("intent", "Other")], "score": 0.2, "model_version": "v1"},
        {"id": 2, "result": [region("intent", "Refund")], "score": 1, "model_version": "v2"},
        {"id": 3, "result": None, "score": None, "model_version": None},
    ]

    found = [read_past_prediction({"parent_prediction": number}, listed, CONFIG) for number in (2, 3, 4, None)]

    assert found == [Prediction({"intent": ("Refund",)}, 1.0, "v2"), Prediction({}, 0.0, ""), None, None]


def test_an_annotation_made_from_no_prediction_is_not_made_from_one_without_a_number() -> None:
    assert read_past_prediction({"parent_prediction": None}, [{"result": []}], CONFIG) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-03T10:00:00Z", 1793700000.0),
        ("2026-11-03T10:00:00.250000Z", 1793700000.25),
        ("2026-11-03T11:00:00+01:00", 1793700000.0),
        ("2026-11-03T10:00:00", 1793700000.0),
        ("yesterday", 0.0),
        ("", 0.0),
        (None, 0.0),
        (1793700000, 0.0),
    ],
)
def test_times_are_read_in_utc(text: object, seconds: float) -> None:
    assert read_time(text) == seconds


@given(JSON)
def test_whatever_an_annotation_holds_there_is_a_label_or_nothing(given: Any) -> None:
    odd = given if isinstance(given, dict) else {"result": given}
    read = read_annotation({"id": 1, **odd}, TASK, CONFIG)

    assert read is None or all(read.labels.values())
    assert isinstance(read_prompt(read_regions(odd), CONFIG), str)
