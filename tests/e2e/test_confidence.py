"""Scores that keep their word, with the real Label Studio: blind samples, what counts as evidence, scores made anew."""

from collections.abc import Iterator, Mapping
from statistics import mean
from typing import Any

import pytest

from prelabel.bootstrap import Services, build
from prelabel.config import Settings
from prelabel.core.types import LabelSource
from prelabel.store.keys import ProjectRef
from tests.e2e.backend import Backend
from tests.e2e.browser import LabelingInterface
from tests.e2e.runs_api import RunsApi, predictions_per_task
from tests.e2e.studio_api import StudioApi
from tests.e2e.waiting import until
from tests.fakes.llm_policy import Verdict
from tests.fakes.llm_server import FakeLLM

CONFIG = """<View>
  <Text name="text" value="$text"/>
  <TextArea name="prompt" toName="text" rows="2" editable="true" maxSubmissions="1" showSubmitButton="false"/>
  <Choices name="intent" toName="text" choice="single" showInline="true">
    <Choice value="Refund"/><Choice value="Shipping"/><Choice value="Other"/>
  </Choices>
  <TextArea name="response" toName="text" rows="2" smart="false" editable="true" maxSubmissions="1"/>
</View>"""
TASKS, BLIND = 160, 80
ACCEPTED = 20


@pytest.fixture
def work(backend: Backend) -> Iterator[Services]:
    """The backend's own state, seen from outside."""
    work = build(Settings.from_env(backend.env))
    yield work
    work.close()


@pytest.fixture
def project(studio: StudioApi, backend: Backend, llm: FakeLLM) -> int:
    """A connected project. The LLM says Refund of every ticket; of the doubtful ones that is wrong for every other."""
    project = studio.create_project("Tickets", CONFIG)
    backend.connect(project)
    llm.answer = lambda text, asked: Verdict(("Refund",), 0.8 if "doubtful" in text else 0.99)
    kinds = ("certain", "doubtful")
    studio.import_tasks(project, [{"text": f"a {kinds[number % 2]} refund {number}"} for number in range(TASKS)])
    return project


def ref_of(studio: StudioApi, work: Services, project: int) -> ProjectRef:
    return work.projects.resolve(ProjectRef(studio.project(project)["id"]))


def truth(text: str) -> str:
    return "Other" if int(text.rsplit(maxsplit=1)[-1]) % 4 == 1 else "Refund"


def chosen(label: str) -> list[dict[str, Any]]:
    value = {"value": {"choices": [label]}, "from_name": "intent", "to_name": "text", "type": "choices"}
    return [{**value, "origin": "manual"}]


def without_prediction(studio: StudioApi, project: int) -> dict[int, str]:
    """Tasks that nothing is predicted for, with their texts."""
    predicted = {row["task"] for row in studio.predictions(project)}
    return {task["id"]: task["data"]["text"] for task in studio.tasks(project) if task["id"] not in predicted}


def scores(studio: StudioApi, project: int) -> Mapping[str, list[float]]:
    """By the kind of the ticket."""
    texts = {task["id"]: task["data"]["text"] for task in studio.tasks(project)}
    found: dict[str, list[float]] = {"certain": [], "doubtful": []}
    for row in studio.predictions(project):
        found[texts[row["task"]].split()[1]].append(row["score"])
    return found


def test_a_validation_sample_shows_no_prediction_of_any_version_whatever_is_tried(
    studio: StudioApi, project: int, runs: RunsApi, work: Services, interface: LabelingInterface, llm: FakeLLM
) -> None:
    runs.ended(runs.start(project))
    since = len(llm.history)
    run = runs.ended(runs.start(project, refresh=True, validation=BLIND))
    withheld = without_prediction(studio, project)
    [task, *_] = sorted(withheld)

    studio.act(project, "retrieve_tasks_predictions", sorted(withheld))
    interface.open_task(project, task)
    interface.expect_chosen()
    interface.screenshot("6-a-withheld-task-opens-empty")
    interface.switch_on_auto_annotation()
    interface.ask("ALWAYS Shipping")
    interface.expect_chosen()
    interface.choose("Other")
    interface.submit()

    ref = ref_of(studio, work, project)
    [kept] = until(lambda: work.annotations.changes(ref).put)
    assert (run["withheld"], len(withheld)) == (BLIND, BLIND)
    asked = {text for each in llm.history[since:] for text in each.texts}
    assert asked >= set(withheld.values()), "asked in secret"
    assert (kept.task_id, kept.source, kept.labels) == (task, LabelSource.PERSON_BLIND, {"intent": ("Other",)})
    assert [row["result"] for row in studio.predictions(project) if row["task"] in withheld and row["result"]] == []
    assert (llm.complaints, interface.page_errors) == ([], [])


def test_scores_are_made_anew_by_blind_labels_alone_and_each_task_keeps_one_prediction(
    studio: StudioApi, project: int, runs: RunsApi, work: Services, backend: Backend, llm: FakeLLM
) -> None:
    runs.ended(runs.start(project, validation=BLIND))
    before, asked = scores(studio, project), len(llm.history)
    withheld = without_prediction(studio, project)
    accepted = sorted({row["task"] for row in studio.predictions(project)})[:ACCEPTED]
    studio.act(project, "predictions_to_annotations", accepted)
    for task, text in withheld.items():
        studio.annotate(task, chosen(truth(text)))
    ref = ref_of(studio, work, project)
    until(lambda: len(work.annotations.changes(ref).put) == BLIND + ACCEPTED)

    again = runs.ended(runs.start(project, rescore=True))
    after = scores(studio, project)
    told = backend.run("status", again["id"])
    studio.import_tasks(project, [{"text": "a doubtful refund of another kind 5"}])
    runs.ended(runs.start(project))

    sources = [each.source for each in work.annotations.changes(ref).put]
    assert (sources.count(LabelSource.PERSON_BLIND), sources.count(LabelSource.BULK_ACCEPTED)) == (BLIND, ACCEPTED)
    assert [again[name] for name in ("state", "labeled", "withheld", "evidence")] == [
        *("succeeded", TASKS - BLIND, BLIND, BLIND)
    ]
    assert predictions_per_task(studio, project)[1] == TASKS - BLIND + 1
    assert len(llm.history) == asked + 1
    assert {example["text"] for example in llm.history[-1].examples} <= set(withheld.values())
    assert mean(before["doubtful"]) > 0.75
    assert 0.35 < mean(after["doubtful"]) < 0.65
    assert mean(after["certain"]) > 0.93
    assert "labelled blind right" in told


def test_too_few_blind_labels_are_said_and_change_nothing(studio: StudioApi, project: int, runs: RunsApi) -> None:
    runs.ended(runs.start(project, validation=10))
    before = scores(studio, project)

    again = runs.ended(runs.start(project, rescore=True))

    assert (again["state"], "0 tasks are labelled blind, and 30 are needed" in again["message"]) == ("failed", True)
    assert scores(studio, project) == before
    assert predictions_per_task(studio, project) == {1: TASKS - 10}


def test_uncertainty_sampling_offers_the_least_certain_ticket_first(
    studio: StudioApi, project: int, runs: RunsApi, llm: FakeLLM
) -> None:
    llm.answer = lambda text, asked: Verdict(("Refund",), 0.4 if text.endswith(" 77") else 0.9)
    runs.ended(runs.start(project))
    studio.call("PATCH", f"/api/projects/{project}", json={"sampling": "Uncertainty sampling"})

    offered = studio.next_task(project)

    ordered = sorted(studio.tasks(project), key=lambda task: task["predictions_score"])
    assert offered["data"]["text"].endswith(" 77")
    assert ordered[0]["id"] == offered["id"]
