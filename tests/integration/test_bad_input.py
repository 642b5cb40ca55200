"""Whatever arrives, the answer is a clear 4xx or one item per task: never a 500, a traceback or a wrong count."""

from typing import Any

import pytest

from tests.fakes.llm_server import FakeLLM
from tests.integration.conftest import PROJECT, TICKETS, Backend, json_of, labels_of, task

GOOD = {"tasks": [task(1, "refund")], "project": PROJECT, "label_config": TICKETS, "params": {"context": None}}
IMAGES = '<View><Image name="i" value="$image"/><Choices name="c" toName="i"><Choice value="a"/></Choices></View>'


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"tasks": None}, "tasks"),
        ({"tasks": {"id": 1}}, "tasks"),
        ({"project": None}, "project"),
        ({"project": "seven"}, "project"),
        ({"project": "7.x"}, "project"),
        ({"project": ["7"]}, "project"),
        ({"project": "9" * 40}, "project"),
        ({"label_config": None}, "label_config"),
        ({"label_config": ""}, "label_config"),
        ({"label_config": 5}, "label_config"),
        ({"label_config": "<View>"}, "label_config"),
        ({"label_config": "<View/>"}, "label_config"),
        ({"label_config": IMAGES}, "label_config"),
        ({"label_config": "<!DOCTYPE x [<!ENTITY a 'b'>]>" + TICKETS}, "label_config"),
        ({"params": [1]}, "params"),
        ({"params": {"context": "prompt"}}, "context"),
        ({"params": {"context": [1]}}, "context"),
        ({"tasks": [], "params": {"context": {"result": []}}}, "tasks"),
    ],
)
def test_a_wrong_request_is_named(backend: Backend, change: dict[str, Any], kind: str) -> None:
    reply = backend.http.post("/predict", json={**GOOD, **change})

    assert reply.status_code == 400
    assert json_of(reply)["error"]["type"] == kind
    assert json_of(reply)["error"]["message"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"[]", "application/json", 400),
        (b"null", "application/json", 400),
        (b"tasks=1", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/setup", "/webhook"])
def test_what_is_no_json_object_is_refused(
    backend: Backend, path: str, body: bytes, content_type: str, status: int
) -> None:
    reply = backend.http.post(path, data=body, content_type=content_type)

    assert reply.status_code == status
    assert set(json_of(reply)["error"]) == {"type", "message"}


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"action": 5},
        {"action": "ANNOTATION_CREATED"},
        {"action": "ANNOTATION_CREATED", "project": 7},
        {"action": "ANNOTATION_CREATED", "project": {"id": 7, "label_config": TICKETS}},
        {"action": "ANNOTATION_CREATED", "project": {"id": 7, "label_config": TICKETS}, "annotation": None, "task": {}},
        {"action": "ANNOTATION_CREATED", "project": {"id": 7, "label_config": None}, "annotation": {}, "task": {}},
        {"action": "ANNOTATION_CREATED", "project": {"id": 7, "label_config": TICKETS}, "annotation": {"id": 1}},
        {"action": "ANNOTATIONS_DELETED", "project": {"id": 7}},
        {"action": "TASKS_DELETED", "project": {"id": 7}, "tasks": 5},
        {"action": "TASKS_DELETED", "project": {"id": True}, "tasks": []},
    ],
)
def test_an_event_without_what_it_is_about_is_refused(backend: Backend, event: dict[str, Any]) -> None:
    reply = backend.http.post("/webhook", json=event)

    assert reply.status_code == 400
    assert set(json_of(reply)["error"]) == {"type", "message"}


@pytest.mark.parametrize(
    "data",
    [
        {"annotation": {}, "task": {}},
        {"annotation": {"id": [1], "task": [2]}, "task": {"id": [3]}},
        {"annotation": {"id": 2**63, "result": []}, "task": {"id": True}},
        {"annotation": {"id": 1, "result": "none"}, "task": {"id": 1}},
        {"annotation": {"id": "x", "result": [None, 5, {"value": 3}]}, "task": {"id": None, "data": 5}},
        {"annotation": [{"id": 1, "task": {"id": 9}}, {"id": 2, "task": []}], "task": [{"id": 9}, {"id": []}]},
    ],
)
def test_an_odd_annotation_teaches_nothing(backend: Backend, data: dict[str, Any]) -> None:
    assert backend.event("ANNOTATIONS_CREATED", **data) == 201


def test_events_that_teach_nothing_are_taken_and_unknown_ones_are_not(backend: Backend) -> None:
    assert [backend.event("TASKS_CREATED", tasks=[]), backend.event("MOON_PHASE_CHANGED")] == [201, 400]


@pytest.mark.parametrize(
    "context", [{}, {"result": []}, {"result": None}, {"result": "x"}, {"result": [None, {"a": 1}]}]
)
def test_a_context_without_a_prompt_asks_nothing(backend: Backend, llm: FakeLLM, context: dict[str, Any]) -> None:
    reply = backend.http.post("/predict", json={**GOOD, "params": {"context": context}})

    assert (reply.status_code, reply.json) == (200, {"results": [{"result": []}]})
    assert llm.history == []


def test_no_tasks_give_no_items(backend: Backend) -> None:
    assert backend.predict() == []


def test_one_bad_task_never_fails_the_others(backend: Backend, llm: FakeLLM) -> None:
    version = backend.setup()
    abstained = {"result": [], "score": 0.0, "model_version": version}
    odd: list[Any] = [
        None,
        5,
        "x",
        [],
        {},
        {"id": 3},
        {"id": 4, "data": None},
        {"id": 5, "data": {}},
        task(6, None),
        task(7, ""),
    ]

    items = backend.predict(task(1, "refund"), *odd, task(8, " \n"), task(9, ["x"]), task(10, 42), task(11, "shipping"))

    assert items[1:5] == [{}] * 4
    assert items[5:13] == [abstained] * 8
    assert [labels_of(items[at]) for at in (0, 14)] == [{"intent": ["refund"]}, {"intent": ["shipping"]}]
    assert llm.history[0].texts == ("refund", "42", "shipping")


def test_a_ticket_of_200_000_characters_keeps_its_beginning_and_end(backend: Backend, llm: FakeLLM) -> None:
    text = "refund first " + "x " * 100_000 + " last words"

    (item,) = backend.predict(task(1, text))

    (asked,) = llm.history[0].texts
    assert labels_of(item) == {"intent": ["refund"]}
    assert asked.startswith("refund first ")
    assert asked.endswith(" last words")
    assert "characters left out" in asked
    assert len(asked) < 32_000


def test_half_a_surrogate_pair_is_no_text_but_no_trouble_either(backend: Backend, llm: FakeLLM) -> None:
    items = backend.predict(task(1, "refund \ud83d"), task(2, "shipping \U0001f4e6"))

    assert [labels_of(item) for item in items] == [{"intent": ["refund"]}, {"intent": ["shipping"]}]
    assert llm.history[0].texts == ("refund ?", "shipping \U0001f4e6")


def test_the_wrong_path_and_method_are_told_in_json(backend: Backend) -> None:
    replies = [backend.http.get("/nowhere"), backend.http.get("/predict")]

    assert [(reply.status_code, json_of(reply)["error"]["type"]) for reply in replies] == [
        (404, "not_found"),
        (405, "method_not_allowed"),
    ]
