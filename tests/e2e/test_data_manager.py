"""What people do with many tasks at a time: retrieve predictions, sort and filter by score, correct, train."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from prelabel.bootstrap import Services, build
from prelabel.config import Settings
from prelabel.store.keys import ProjectRef
from tests.e2e.backend import Backend
from tests.e2e.studio_api import StudioApi
from tests.e2e.waiting import until
from tests.fakes.llm_policy import Verdict
from tests.fakes.llm_server import FakeLLM

CONFIG = """
<View><Text name="text" value="$text"/>
<TextArea name="prompt" toName="text" rows="2" editable="true" maxSubmissions="1" showSubmitButton="false"/>
<Choices name="intent" toName="text"><Choice value="Refund"/><Choice value="Shipping"/><Choice value="Other"/></Choices>
</View>
"""


@pytest.fixture
def project(studio: StudioApi, backend: Backend, llm: FakeLLM) -> int:
    """A connected project with 50 tasks, half of which the LLM is less sure of."""
    project = studio.create_project("Tickets", CONFIG)
    backend.connect(project)
    llm.answer = lambda text, asked: Verdict(("Refund",), 0.95 if "certain" in text else 0.6)
    texts = ["a certain Refund", "perhaps a Refund"] * 25
    studio.import_tasks(project, [{"text": f"{text} {number}"} for number, text in enumerate(texts)])
    return project


@pytest.fixture
def work(backend: Backend) -> Services:
    """The backend's own state, seen from outside."""
    return build(Settings.from_env(backend.env))


def ref_of(studio: StudioApi, work: Services, project: int) -> ProjectRef:
    return work.projects.resolve(ProjectRef(studio.project(project)["id"]))


def test_retrieving_twice_leaves_one_prediction_a_task(studio: StudioApi, project: int) -> None:
    counts = []
    for _ in range(2):
        studio.act(project, "retrieve_tasks_predictions")
        counts.append(len(studio.predictions(project)))

    assert counts == [50, 50]
    assert len({prediction["task"] for prediction in studio.predictions(project)}) == 50


def test_the_data_manager_shows_every_score_and_filters_by_it(studio: StudioApi, project: int) -> None:
    studio.act(project, "retrieve_tasks_predictions")

    below = {"filter": "filter:tasks:predictions_score", "operator": "less", "value": 0.85, "type": "Number"}
    unsure = studio.tasks(project, below)

    scores = [task["predictions_score"] for task in studio.tasks(project)]
    assert (len(scores), all(isinstance(score, float) and 0 < score <= 1 for score in scores)) == (50, True)
    assert sorted(task["predictions_score"] for task in unsure) == sorted(score for score in scores if score < 0.85)
    assert len(unsure) == 25


def test_a_hundred_concurrent_corrections_are_all_kept_once(
    studio: StudioApi, project: int, work: Services, label_studio: Any
) -> None:
    tasks = studio.import_tasks(project, [{"text": f"ticket {number}"} for number in range(100)])
    value = {"value": {"choices": ["Other"]}, "from_name": "intent", "to_name": "text", "type": "choices"}
    ref = ref_of(studio, work, project)

    def correct(task: int) -> None:
        own = StudioApi(label_studio.url, label_studio.token)
        own.annotate(task, [{**value, "origin": "manual"}])
        own.close()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(correct, tasks))

    until(lambda: len(work.annotations.changes(ref).put) == 100)
    kept = work.annotations.changes(ref).put
    assert sorted(annotation.task_id for annotation in kept) == sorted(tasks)
    assert work.annotations.changes(ref).revision == 100


def test_a_hundred_events_at_once_are_all_kept_once(
    studio: StudioApi, project: int, work: Services, backend: Backend
) -> None:
    """At our own door: Label Studio's server takes no hundred connections at once."""
    told = studio.project(project)
    region = {"from_name": "intent", "to_name": "text", "type": "choices", "value": {"choices": ["Other"]}}

    def tell(number: int) -> int:
        made = {"id": number, "result": [{**region, "origin": "manual"}], "updated_at": "2026-11-21T09:00:00Z"}
        event = {"action": "ANNOTATION_CREATED", "project": told, "annotation": made}
        event["task"] = {"id": number, "data": {"text": f"ticket {number}"}}
        return requests.post(f"{backend.url}/webhook", json=event, auth=backend.auth, timeout=30).status_code

    with ThreadPoolExecutor(100) as pool:
        statuses = list(pool.map(tell, [*range(1, 101), *range(1, 101)]))

    changes = work.annotations.changes(ref_of(studio, work, project))
    assert statuses == [201] * 200
    assert sorted(annotation.id for annotation in changes.put) == list(range(1, 101))
    assert changes.revision == 100


def test_training_brings_back_what_was_missed_and_begins_a_generation(
    studio: StudioApi, project: int, work: Services, backend: Backend
) -> None:
    [task, *_] = studio.tasks(project)
    value = {"value": {"choices": ["Other"]}, "from_name": "intent", "to_name": "text", "type": "choices"}
    made = studio.annotate(task["id"], [{**value, "origin": "manual"}])
    ref = ref_of(studio, work, project)
    until(lambda: work.annotations.changes(ref).put)
    work.annotations.drop(ref, [made["id"]])
    before = studio.project(project)["model_version"]

    [row] = studio.ml_backends(project)
    studio.call("POST", f"/api/ml/{row['id']}/train", json={})

    after = until(lambda: (version := studio.project(project)["model_version"]) != before and version)
    [row] = studio.ml_backends(project)
    assert [annotation.id for annotation in work.annotations.changes(ref).put] == [made["id"]]
    assert row["title"] == row["model_version"] == after == work.projects.state(ref).title
    assert work.projects.state(ref).generation == 2


def test_a_backend_added_by_hand_is_put_right_by_itself(studio: StudioApi, backend: Backend) -> None:
    project = studio.create_project("Added by hand", CONFIG)
    user, password = backend.auth
    auth = {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}

    studio.call("POST", "/api/ml", json={"project": project, "url": backend.url, "title": "my LLM", **auth})

    def is_right() -> bool:
        [row] = studio.ml_backends(project)
        version = studio.project(project)["model_version"]
        return bool(row["is_interactive"]) and row["title"] == row["model_version"] == version

    until(is_right)
    [webhook] = studio.call("GET", "/api/webhooks/", params={"project": project})
    assert "X-Prelabel-Secret" in webhook["headers"]
    assert not webhook["send_for_all_actions"]


def test_a_changed_label_config_moves_title_and_version_along(studio: StudioApi, project: int) -> None:
    before = studio.project(project)["model_version"]

    studio.call("PATCH", f"/api/projects/{project}", json={"label_config": CONFIG.replace("Other", "Else")})

    after = until(lambda: (version := studio.project(project)["model_version"]) != before and version)
    assert [row["title"] for row in studio.ml_backends(project)] == [after]


def test_two_projects_know_nothing_of_each_other(
    studio: StudioApi, backend: Backend, project: int, llm: FakeLLM
) -> None:
    other = studio.create_project("Other tickets", CONFIG)
    backend.connect(other, "FEW_SHOT_EXAMPLES=3", "OPENAI_MODEL=gpt-4o")
    [task] = studio.import_tasks(other, [{"text": "Refund of the other kind"}])

    studio.open_task(other, task)
    studio.act(project, "retrieve_tasks_predictions")

    assert [asked.model for asked in llm.asked_about("Refund of the other kind")] == ["gpt-4o"]
    assert {asked.model for asked in llm.history} == {"gpt-4o", "gpt-4o-mini"}
    assert studio.project(other)["model_version"].startswith("gpt-4o-p0-g1-")
