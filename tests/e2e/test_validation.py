"""A validation sample in the real Label Studio: shown without a prediction, whatever is tried, and labelled blind."""

from collections.abc import Iterator

import pytest

from prelabel.bootstrap import Services, build
from prelabel.config import Settings
from prelabel.core.types import LabelSource
from prelabel.store.keys import ProjectRef
from tests.e2e.backend import Backend
from tests.e2e.browser import LabelingInterface
from tests.e2e.runs_api import RunsApi
from tests.e2e.studio_api import StudioApi
from tests.e2e.waiting import until
from tests.fakes.llm_server import FakeLLM

CONFIG = """<View>
  <Text name="text" value="$text"/>
  <TextArea name="prompt" toName="text" rows="2" editable="true" maxSubmissions="1" showSubmitButton="false"/>
  <Choices name="intent" toName="text" choice="single" showInline="true">
    <Choice value="Refund"/><Choice value="Shipping"/><Choice value="Other"/>
  </Choices>
  <TextArea name="response" toName="text" rows="2" smart="false" editable="true" maxSubmissions="1"/>
</View>"""
TASKS, BLIND = 60, 20


@pytest.fixture
def runs(backend: Backend) -> Iterator[RunsApi]:
    api = RunsApi(backend)
    yield api
    api.close()


@pytest.fixture
def work(backend: Backend) -> Iterator[Services]:
    """The backend's own state, seen from outside."""
    work = build(Settings.from_env(backend.env))
    yield work
    work.close()


@pytest.fixture
def project(studio: StudioApi, backend: Backend) -> int:
    """A connected project."""
    project = studio.create_project("Tickets", CONFIG)
    backend.connect(project)
    studio.import_tasks(project, [{"text": f"Refund number {number}"} for number in range(TASKS)])
    return project


def test_a_sample_shows_no_prediction_of_any_version_and_is_labelled_blind(
    studio: StudioApi, project: int, runs: RunsApi, work: Services, interface: LabelingInterface, llm: FakeLLM
) -> None:
    runs.ended(runs.start(project))
    run = runs.ended(runs.start(project, refresh=True, validation=BLIND))
    shown = {row["task"] for row in studio.predictions(project)}
    withheld = sorted({task["id"] for task in studio.tasks(project)} - shown)
    [task, *_] = withheld

    studio.act(project, "retrieve_tasks_predictions", withheld)
    interface.open_task(project, task)
    interface.expect_chosen()
    interface.screenshot("6-a-withheld-task-opens-empty")
    interface.switch_on_auto_annotation()
    interface.ask("ALWAYS Shipping")
    interface.expect_chosen()
    interface.choose("Other")
    interface.submit()

    ref = work.projects.resolve(ProjectRef(project))
    [kept] = until(lambda: work.annotations.changes(ref).put)
    assert [run[name] for name in ("state", "withheld", "labeled")] == ["succeeded", BLIND, TASKS - BLIND]
    assert (len(withheld), frozenset(withheld)) == (BLIND, work.projects.state(ref).withheld)
    assert (kept.task_id, kept.source, kept.labels) == (task, LabelSource.PERSON_BLIND, {"intent": ("Other",)})
    assert [row["result"] for row in studio.predictions(project) if row["task"] in withheld and row["result"]] == []
    assert (llm.complaints, interface.page_errors) == ([], [])
