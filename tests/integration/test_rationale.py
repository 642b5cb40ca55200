"""A reason with each label: asked for before the labels, shown in its own text field, paid for only where wanted."""

import logging
from typing import Any

import pytest
from label_studio_sdk.label_interface.interface import LabelInterface

from prelabel.core.schema import COMMENT
from prelabel.store.keys import ProjectRef
from tests.fakes.llm_policy import COMMENT as REASON
from tests.fakes.llm_policy import Verdict
from tests.fakes.llm_server import FakeLLM
from tests.integration.conftest import PROJECT, TICKETS, Backend, Start, annotation, labels_of, task

REASONED = TICKETS.replace("</View>", '<TextArea name="reasoning" toName="text" smart="false"/></View>')


def texts_of(item: dict[str, Any]) -> dict[str, list[str]]:
    return {region["from_name"]: region["value"]["text"] for region in item["result"] if region["type"] == "textarea"}


def test_every_prediction_says_why_where_the_config_has_a_place_for_it(backend: Backend, llm: FakeLLM) -> None:
    items = backend.predict(task(1, "refund"), task(2, "shipping"), config=REASONED)

    assert [texts_of(item) for item in items] == [{"reasoning": [REASON]}] * 2
    assert [labels_of(item) for item in items] == [{"intent": ["refund"]}, {"intent": ["shipping"]}]
    assert [list(asked.answer_schema) for asked in llm.history] == [["id", COMMENT, "label", "confidence"]]


def test_what_says_why_is_valid_by_label_studios_own_judgement(backend: Backend) -> None:
    (item,) = backend.predict(task(1, "refund"), config=REASONED)

    interface = LabelInterface(REASONED)
    assert interface.validate_prediction(item, return_errors=True) == []  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("switch", "config", "asked_for", "shown"),
    [
        ("auto", TICKETS, False, {}),
        ("1", TICKETS, True, {}),
        ("1", REASONED, True, {"reasoning": [REASON]}),
        ("0", REASONED, False, {}),
    ],
)
def test_the_switch_says_whether_a_reason_is_asked_for(
    start: Start, llm: FakeLLM, switch: str, config: str, asked_for: bool, shown: dict[str, list[str]]
) -> None:
    (item,) = start(RATIONALE=switch).predict(task(1, "refund"), config=config)

    assert (COMMENT in llm.history[0].answer_schema, texts_of(item)) == (asked_for, shown)


def test_a_project_may_have_it_otherwise(backend: Backend, llm: FakeLLM) -> None:
    projects = backend.work.projects
    projects.set_settings(projects.resolve(ProjectRef.parse(PROJECT)), {"RATIONALE": "0"})

    (item,) = backend.predict(task(1, "refund"), config=REASONED)

    assert (COMMENT in llm.history[0].answer_schema, texts_of(item)) == (False, {})


def test_a_reason_moves_no_version(start: Start) -> None:
    versions = {start(RATIONALE=switch).setup(config) for switch in "01" for config in (TICKETS, REASONED)}

    assert len(versions) == 1


def test_a_typed_prompt_is_answered_with_the_reason_in_its_place(backend: Backend) -> None:
    item = backend.prompted("ALWAYS shipping", task(1, "refund"), REASONED)

    assert texts_of(item) == {"reasoning": [REASON], "prompt": ["ALWAYS shipping"], "response": [REASON]}


def test_the_embedded_model_gives_no_reason(start: Start) -> None:
    backend = start(OPENAI_API_KEY="", OPENAI_BASE_URL="")
    for number in range(40):
        label = ("refund", "shipping")[number % 2]
        reviewed = task(number, f"{label} of item {number}")
        backend.event("ANNOTATION_CREATED", annotation=annotation(number, label), task=reviewed)

    (item,) = backend.predict(task(100, "refund please"), config=REASONED)

    assert (labels_of(item), texts_of(item)) == ({"intent": ["refund"]}, {})


def test_a_reason_is_never_logged(backend: Backend, llm: FakeLLM, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    llm.answer = lambda text, asked: Verdict(("refund",) if "1" in text else (), 0.9, "Quoting the secret ticket.")

    backend.predict(task(1, "refund 1"), task(2, "who knows"), config=REASONED)

    assert "Quoting" not in caplog.text


def test_a_reason_is_nothing_to_learn_from(backend: Backend, llm: FakeLLM) -> None:
    reason = {"from_name": "reasoning", "to_name": "text", "type": "textarea", "origin": "prediction-changed"}
    reviewed = annotation(1, "other", origin="prediction")
    reviewed["result"].append({**reason, "value": {"text": ["A person wrote this."]}})
    backend.event("ANNOTATION_CREATED", annotation=reviewed, task=task(1, "refund it all"))

    backend.predict(task(2, "refund it, all of it"), config=REASONED)

    assert [dict(example) for example in llm.history[0].examples] == [{"text": "refund it all", "label": "3"}]
    kept = backend.work.annotations.changes(backend.work.projects.resolve(ProjectRef.parse(PROJECT))).put
    assert [each.correction for each in kept] == [False]
