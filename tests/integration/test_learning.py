"""Webhooks: what people label becomes examples, what they type becomes prompts, what they delete is forgotten."""

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from prelabel.core.types import LabelSource
from prelabel.store.keys import ProjectRef
from tests.fakes.llm_server import FakeLLM
from tests.integration.conftest import PROJECT, TICKETS, Backend, Start, annotation, labels_of, task

REF = ProjectRef.parse(PROJECT)


def kept(backend: Backend) -> dict[int, Any]:
    return {found.id: found for found in backend.work.annotations.changes(REF).put}


def prompt_region(text: str | list[str]) -> dict[str, Any]:
    value = {"text": text if isinstance(text, list) else [text]}
    return {"from_name": "prompt", "to_name": "text", "type": "textarea", "value": value, "origin": "manual"}


def submit(backend: Backend, number: int, prompt: str) -> None:
    """A person submits a typed prompt together with its label."""
    made = annotation(number, "other")
    made["result"].append(prompt_region(prompt))
    assert backend.event("ANNOTATION_CREATED", annotation=made, task=task(number, f"ticket {number}")) == 201


def test_a_correction_stands_among_the_next_prompts_examples(backend: Backend, llm: FakeLLM) -> None:
    backend.event("ANNOTATION_CREATED", annotation=annotation(1, "other"), task=task(1, "where is my refund"))

    backend.predict(task(2, "where is the refund I was promised"))

    assert llm.history[0].examples == ({"text": "where is my refund", "label": "3"},)


def test_the_nearest_examples_are_chosen_in_any_script(start: Start, llm: FakeLLM) -> None:
    backend = start(FEW_SHOT_EXAMPLES="1")
    for number, text in enumerate(["カードがまだ届きません", "返金してください", "shipping is late", "refund now"], 1):
        backend.event("ANNOTATION_CREATED", annotation=annotation(number, "other"), task=task(number, text))

    backend.predict(task(9, "新しいカードがまだ届いていません"))

    assert [example["text"] for example in llm.history[0].examples] == ["カードがまだ届きません"]


def test_similar_tickets_share_a_request_and_its_examples(start: Start, llm: FakeLLM) -> None:
    backend = start(LLM_TASKS_PER_REQUEST="2", FEW_SHOT_EXAMPLES="1")
    for number, text in enumerate(["my refund has not come", "shipping takes too long"], 1):
        backend.event("ANNOTATION_CREATED", annotation=annotation(number, "other"), task=task(number, text))
    refunds = ["the refund has not come yet", "no refund has come to me"]
    shippings = ["the shipping takes very long", "why does shipping take so long"]

    backend.predict(*(task(10 + at, text) for at, text in enumerate([refunds[0], *shippings, refunds[1]])))

    shown = {asked.texts: [example["text"] for example in asked.examples] for asked in llm.history}
    assert shown == {tuple(refunds): ["my refund has not come"], tuple(shippings): ["shipping takes too long"]}


def test_texts_that_are_the_same_are_asked_about_once(backend: Backend, llm: FakeLLM) -> None:
    items = backend.predict(task(1, "my refund"), task(2, "my refund"), task(3, "shipping"))

    assert [labels_of(item) for item in items] == [{"intent": [label]} for label in ("refund", "refund", "shipping")]
    assert [asked.texts for asked in llm.history] == [("my refund", "shipping")]


def test_a_ticket_is_never_its_own_example(backend: Backend, llm: FakeLLM) -> None:
    backend.event("ANNOTATION_CREATED", annotation=annotation(1, "other"), task=task(1, "refund"))

    backend.predict(task(1, "refund"), task(2, "refund, please"))

    assert llm.history[0].examples == ()


def test_an_update_replaces_and_an_older_event_changes_nothing(backend: Backend) -> None:
    newest = annotation(1, "shipping", updated_at="2026-11-21T10:00:00Z")
    backend.event("ANNOTATION_CREATED", annotation=annotation(1, "other"), task=task(1, "refund"))
    backend.event("ANNOTATION_UPDATED", annotation=newest, task=task(1, "refund"))
    backend.event("ANNOTATION_UPDATED", annotation=annotation(1, "other"), task=task(1, "refund"))

    assert {number: found.labels for number, found in kept(backend).items()} == {1: {"intent": ("shipping",)}}


def test_a_late_skip_does_not_take_a_newer_label_back(backend: Backend) -> None:
    newest = annotation(1, "shipping", updated_at="2026-11-21T10:00:00Z")
    backend.event("ANNOTATION_UPDATED", annotation=newest, task=task(1, "refund"))

    backend.event("ANNOTATION_UPDATED", annotation=annotation(1, None, was_cancelled=True), task=task(1, "refund"))

    assert kept(backend)[1].labels == {"intent": ("shipping",)}


def test_what_was_deleted_does_not_come_back_with_a_late_event(backend: Backend) -> None:
    backend.event("ANNOTATIONS_DELETED", annotations=[{"id": 1}])

    backend.event("ANNOTATION_CREATED", annotation=annotation(1, "other"), task=task(1, "refund"))

    assert kept(backend) == {}


def test_a_late_event_does_not_promote_its_old_prompt(backend: Backend) -> None:
    new = annotation(1, "other", updated_at="2026-11-21T10:00:00Z")
    new["result"].append(prompt_region("the new one"))
    backend.event("ANNOTATION_UPDATED", annotation=new, task=task(1, "ticket"))

    submit(backend, 1, "the old one")

    assert [record.text for record in backend.work.prompts.all(REF) if record.promoted] == ["the new one"]


def test_a_hundred_concurrent_corrections_are_all_kept_once(backend: Backend) -> None:
    def correct(number: int) -> int:
        made = annotation(number % 100 + 1, "other")
        with backend.http.application.test_client() as http:
            return Backend(backend.work, http).event("ANNOTATION_CREATED", annotation=made, task=task(made["id"], "x"))

    with ThreadPoolExecutor(32) as pool:
        statuses = set(pool.map(correct, range(200)))

    assert statuses == {201}
    assert sorted(kept(backend)) == list(range(1, 101))
    assert backend.work.annotations.changes(REF).revision == 100


def test_lists_of_annotations_are_taken_apart(backend: Backend) -> None:
    made = [annotation(number, "other", origin=None, task=number + 10, parent_prediction=5) for number in (1, 2)]

    backend.event("ANNOTATIONS_CREATED", annotation=made, task=[task(12, "second"), task(11, "first")])

    assert {number: (found.task_id, found.text) for number, found in kept(backend).items()} == {
        1: (11, "first"),
        2: (12, "second"),
    }


@pytest.mark.parametrize(
    ("made", "source"),
    [
        (annotation(1, "other", "manual"), LabelSource.PERSON),
        (annotation(1, "other", "prediction", parent_prediction=3), LabelSource.PERSON),
        (annotation(1, "other", "prediction-changed", parent_prediction=3), LabelSource.PERSON),
        (annotation(1, "other", None), LabelSource.PERSON),
        (annotation(1, "other", None, parent_prediction=3), LabelSource.BULK_ACCEPTED),
        (annotation(1, "other", None, completed_by=77), LabelSource.BACKEND),
        (annotation(1, "other", "manual", completed_by=77), LabelSource.PERSON),
    ],
)
def test_every_label_carries_its_source_and_only_peoples_are_examples(
    backend: Backend, llm: FakeLLM, made: dict[str, Any], source: LabelSource
) -> None:
    backend.work.projects.set_connected(REF, title="t", backend_url="http://localhost:9090", own_user=77)

    backend.event("ANNOTATION_CREATED", annotation=made, task=task(1, "refund"))
    backend.predict(task(2, "a refund"))

    assert kept(backend)[1].source is source
    assert len(llm.history[0].examples) == int(source.is_person)


def test_a_withheld_tasks_label_is_a_blind_one(backend: Backend) -> None:
    backend.work.projects.withhold(REF, [1])

    backend.event("ANNOTATION_CREATED", annotation=annotation(1, "other"), task=task(1, "refund"))

    assert kept(backend)[1].source is LabelSource.PERSON_BLIND


def test_a_label_that_was_accepted_in_bulk_stays_that_when_its_prediction_is_gone(backend: Backend) -> None:
    backend.work.projects.withhold(REF, [1])
    made = annotation(1, "other", None, parent_prediction=3)
    backend.event("ANNOTATION_CREATED", annotation=made, task=task(1, "refund"))

    again = {**made, "parent_prediction": None, "ground_truth": True, "updated_at": "2026-11-21T12:00:00Z"}
    backend.event("ANNOTATION_UPDATED", annotation=again, task=task(1, "refund"))

    assert (kept(backend)[1].source, kept(backend)[1].ground_truth) == (LabelSource.BULK_ACCEPTED, True)


def test_a_person_who_goes_over_a_label_that_was_accepted_in_bulk_is_behind_it(backend: Backend) -> None:
    made = annotation(1, "other", None, parent_prediction=3)
    backend.event("ANNOTATION_CREATED", annotation=made, task=task(1, "refund"))

    again = annotation(1, "refund", "prediction-changed", updated_at="2026-11-21T12:00:00Z")
    backend.event("ANNOTATION_UPDATED", annotation=again, task=task(1, "refund"))

    assert kept(backend)[1].source is LabelSource.PERSON


def test_what_had_been_predicted_is_kept_with_a_correction(backend: Backend) -> None:
    (item,) = backend.predict(task(1, "refund"))

    backend.event("ANNOTATION_CREATED", annotation=annotation(1, "other"), task=task(1, "refund"))

    found = kept(backend)[1]
    assert (found.correction, found.predicted.labels) == (True, {"intent": ("refund",)})
    assert (found.predicted.version, found.predicted.score) == (item["model_version"], item["score"])


def test_what_had_been_predicted_first_stays_with_the_annotation(backend: Backend, llm: FakeLLM) -> None:
    backend.predict(task(1, "refund"))
    made = annotation(1, "other", "prediction-changed", parent_prediction=1)
    backend.event("ANNOTATION_CREATED", annotation=made, task=task(1, "refund"))
    llm.answer = lambda text, asked: "other"
    backend.predict(task(1, "refund"))

    again = {**made, "ground_truth": True, "updated_at": "2026-11-21T12:00:00Z"}
    backend.event("ANNOTATION_UPDATED", annotation=again, task=task(1, "refund"))

    found = kept(backend)[1]
    assert (found.ground_truth, found.correction, found.predicted.labels) == (True, True, {"intent": ("refund",)})


def test_an_accepted_suggestion_is_no_correction(backend: Backend) -> None:
    backend.predict(task(1, "refund"))

    made = annotation(1, "refund", "prediction", parent_prediction=1)
    backend.event("ANNOTATION_CREATED", annotation=made, task=task(1, "refund"))

    assert kept(backend)[1].correction is False


@pytest.mark.parametrize("made", [annotation(1, None), annotation(1, None, was_cancelled=True)])
def test_a_skipped_or_emptied_annotation_is_none(backend: Backend, made: dict[str, Any]) -> None:
    backend.event("ANNOTATION_CREATED", annotation=annotation(1, "other"), task=task(1, "refund"))

    backend.event("ANNOTATION_UPDATED", annotation=made, task=task(1, "refund"))

    assert kept(backend) == {}


def test_deleted_annotations_and_tasks_are_forgotten(backend: Backend, llm: FakeLLM) -> None:
    for number in (1, 2, 3):
        backend.event("ANNOTATION_CREATED", annotation=annotation(number, "other"), task=task(number, "refund"))
    backend.predict(task(3, "refund"), task(9, "refund"))

    backend.event("ANNOTATIONS_DELETED", annotations=[{"id": 1}, {"id": 4711}])
    backend.event("TASKS_DELETED", tasks=[{"id": 3}])
    backend.predict(task(8, "a refund"))

    assert list(kept(backend)) == [2]
    assert backend.work.projects.predicted(REF, [3, 9]).keys() == {9}
    assert len(llm.history[-1].examples) == 1


def test_a_label_that_the_config_has_no_more_is_parked_until_it_is_back(backend: Backend, llm: FakeLLM) -> None:
    backend.event("ANNOTATION_CREATED", annotation=annotation(1, "other"), task=task(1, "refund"))
    without = TICKETS.replace('<Choice value="other"/>', "")

    backend.predict(task(2, "a refund"), config=without)
    backend.predict(task(2, "a refund"))

    assert [len(asked.examples) for asked in llm.history] == [0, 1]


def test_a_submitted_prompt_is_the_projects_at_once_in_every_process(start: Start, llm: FakeLLM) -> None:
    one, other = start(), start()
    before = other.setup()

    submit(one, 1, "ALWAYS shipping")
    (item,) = other.predict(task(2, "refund"))

    assert labels_of(item) == {"intent": ["shipping"]}
    assert item["model_version"] == other.setup() != before


def test_the_last_of_several_prompts_counts(backend: Backend, llm: FakeLLM) -> None:
    made = annotation(1, "other")
    made["result"].append(prompt_region(["first", "ALWAYS shipping"]))

    backend.event("ANNOTATION_CREATED", annotation=made, task=task(1, "ticket"))
    (item,) = backend.predict(task(2, "refund"))

    assert labels_of(item) == {"intent": ["shipping"]}


def test_a_prompt_submitted_late_stays_a_draft(backend: Backend) -> None:
    submit(backend, 1, "the first")
    backend.predict(*(task(number, "refund") for number in range(100, 150)))

    submit(backend, 2, "the second")

    assert [(record.text, record.promoted) for record in backend.work.prompts.all(REF)] == [
        ("the first", True),
        ("the second", False),
    ]


@pytest.mark.parametrize(("promotion", "promoted"), [("submit", True), ("manual", False)])
def test_promotion_follows_the_setting(start: Start, promotion: str, promoted: bool) -> None:
    backend = start(PROMPT_PROMOTION=promotion)
    backend.predict(*(task(number, "refund") for number in range(100, 150)))

    submit(backend, 1, "a prompt")

    assert [record.promoted for record in backend.work.prompts.all(REF)] == [promoted]


def test_the_same_prompt_again_is_the_same_version(backend: Backend) -> None:
    for number in (1, 2, 3):
        submit(backend, number, "a prompt")

    assert [record.version for record in backend.work.prompts.all(REF)] == [1]


def test_an_old_annotations_prompt_does_not_come_back_with_a_later_correction(backend: Backend) -> None:
    submit(backend, 1, "the first")
    submit(backend, 2, "the second")

    changed = annotation(1, "refund", "prediction-changed", updated_at="2026-11-21T12:00:00Z")
    changed["result"].append(prompt_region("the first"))
    backend.event("ANNOTATION_UPDATED", annotation=changed, task=task(1, "ticket 1"))

    assert [(record.text, record.promoted) for record in backend.work.prompts.all(REF)] == [
        ("the first", False),
        ("the second", True),
    ]


def test_a_rollback_goes_back_one_promotion_at_a_time(backend: Backend) -> None:
    prompts = backend.work.prompts
    for text in ("one", "two"):
        prompts.promote(REF, prompts.add(REF, text).version)

    assert [prompts.rollback(REF), prompts.rollback(REF)] == [1, 0]
    assert backend.work.projects.state(REF).prompt is None


def test_an_event_gets_in_by_password_or_by_secret_only(start: Start) -> None:
    backend = start(BASIC_AUTH_USER="ls", BASIC_AUTH_PASS="pw")
    secret = backend.work.settings.effective_webhook_secret
    password = "Basic " + base64.b64encode(b"ls:pw").decode()
    event = {"action": "TASKS_DELETED", "project": {"id": 7}, "tasks": []}

    statuses = [
        backend.http.post("/webhook", json=event, headers=headers).status_code
        for headers in ({}, {"X-Prelabel-Secret": "no"}, {"X-Prelabel-Secret": secret}, {"Authorization": password})
    ]

    assert statuses == [401, 401, 201, 201]


def test_the_secret_opens_nothing_but_the_webhook(start: Start) -> None:
    backend = start(BASIC_AUTH_USER="ls", BASIC_AUTH_PASS="pw")
    headers = {"X-Prelabel-Secret": backend.work.settings.effective_webhook_secret}

    assert backend.http.post("/predict", json={}, headers=headers).status_code == 401
    assert backend.http.get("/health").status_code == 200


def test_start_training_is_queued_once_however_often_it_comes(backend: Backend) -> None:
    for _ in range(3):
        assert backend.event("START_TRAINING") == 201

    from rq import Queue

    queue = backend.work.jobs._queue
    assert isinstance(queue, Queue)
    assert [job.func_name for job in queue.jobs] == ["prelabel.runs.jobs.rebuild"]
