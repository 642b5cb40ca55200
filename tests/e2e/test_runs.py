"""Bulk runs against the real Label Studio, with a real worker: every task exactly one prediction, whatever goes on."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping

import psutil
import pytest
import redis

from prelabel.bootstrap import Services, build
from prelabel.config import Settings
from prelabel.runs import control
from prelabel.runs.bulk import execute
from prelabel.store.run import RunOptions
from tests.e2e.backend import Backend
from tests.e2e.runs_api import CONFIG, TASKS, RunsApi, predictions_per_task
from tests.e2e.studio_api import StudioApi
from tests.e2e.waiting import until
from tests.fakes.llm_server import FakeLLM
from tests.servers import redis_server, rq_worker


@pytest.fixture
def project(studio: StudioApi, backend: Backend, llm: FakeLLM) -> int:
    """A connected project of 300 tasks."""
    project = studio.create_project("Tickets", CONFIG)
    backend.connect(project)
    studio.import_tasks(project, [{"text": f"Refund number {number}"} for number in range(TASKS)])
    return project


def test_a_run_gives_every_task_one_prediction_and_another_changes_nothing(
    studio: StudioApi, project: int, runs: RunsApi, llm: FakeLLM
) -> None:
    first = runs.ended(runs.start(project))
    asked = len(llm.history)
    second = runs.ended(runs.start(project))

    assert [first[name] for name in ("state", "total", "done", "labeled", "failed")] == [
        "succeeded",
        TASKS,
        TASKS,
        TASKS,
        0,
    ]
    assert [second[name] for name in ("state", "total", "done")] == ["succeeded", 0, 0]
    assert predictions_per_task(studio, project) == {1: TASKS}
    assert len(llm.history) == asked == first["requests"]
    assert first["model_version"] == studio.project(project)["model_version"]
    assert first["prompt_tokens"] > 0
    assert [first["cost"], second["cost"]] == [None, 0], "nobody knows what a server of one's own costs"


def test_retrieving_and_opening_tasks_meanwhile_leaves_one_prediction_a_task(
    studio: StudioApi, project: int, runs: RunsApi, llm: FakeLLM
) -> None:
    llm.latency_s = 0.3
    tasks = [task["id"] for task in studio.tasks(project)]

    retrieving = threading.Thread(target=studio.act, args=(project, "retrieve_tasks_predictions", tasks[100:200]))
    retrieving.start()
    run = runs.start(project)
    for task in tasks[::60]:
        studio.open_task(project, task)
    retrieving.join()
    found = runs.ended(run)

    assert found["state"] == "succeeded"
    assert predictions_per_task(studio, project) == {1: TASKS}
    assert found["done"] == found["total"]


def test_a_second_run_of_a_project_is_refused_with_the_firsts_id(project: int, runs: RunsApi, llm: FakeLLM) -> None:
    llm.latency_s = 0.5
    run = runs.start(project)

    refused = runs.call("POST", "/runs", 409, project=project)

    assert refused["id"] == run
    assert runs.ended(run)["state"] == "succeeded"


def test_a_refresh_predicts_every_task_anew_under_a_new_version(studio: StudioApi, project: int, runs: RunsApi) -> None:
    before = runs.ended(runs.start(project))

    after = runs.ended(runs.start(project, refresh=True))

    assert (after["labeled"], after["model_version"] != before["model_version"]) == (TASKS, True)
    assert predictions_per_task(studio, project) == {1: TASKS}
    assert [row["title"] for row in studio.ml_backends(project)] == [after["model_version"]]


def test_a_limit_is_kept_and_the_next_run_goes_on(studio: StudioApi, project: int, runs: RunsApi) -> None:
    first = runs.ended(runs.start(project, limit=50))
    second = runs.ended(runs.start(project))

    assert (first["done"], second["done"]) == (50, TASKS - 50)
    assert predictions_per_task(studio, project) == {1: TASKS}


def test_the_shell_starts_a_run_and_shows_it(project: int, backend: Backend) -> None:
    shown = json.loads(backend.run("run", "--project", str(project), "--limit", "20", "--json"))

    assert (shown["state"], shown["labeled"]) == ("succeeded", 20)
    assert f"{shown['id']}  project {project}  succeeded  20/20  20 labeled" in backend.run("runs")
    assert "succeeded" in backend.run("status", shown["id"])


def test_a_label_config_changed_meanwhile_fails_the_run_with_the_reason(
    studio: StudioApi, project: int, runs: RunsApi, llm: FakeLLM
) -> None:
    studio.import_tasks(project, [{"text": f"Shipping number {number}"} for number in range(600)])
    llm.latency_s = 0.3
    run = runs.start(project)
    until(lambda: llm.history)

    studio.call("PATCH", f"/api/projects/{project}", json={"label_config": CONFIG.replace("Other", "Else")})
    found = runs.ended(run)

    assert found["state"] == "failed"
    assert "label config or the prompt was changed" in found["message"]
    assert "start a new run" in found["message"]


def test_a_project_that_is_gone_fails_the_run_with_the_reason(studio: StudioApi, project: int, runs: RunsApi) -> None:
    studio.call("DELETE", f"/api/projects/{project}")

    found = runs.ended(runs.start(project))

    assert (found["state"], f"project {project}" in found["message"]) == ("failed", True)


def test_a_wrong_label_studio_token_fails_the_run_with_what_to_do(
    project: int, backend: Backend, redis_url: str
) -> None:
    work = build(Settings.from_env({**backend.env, "LABEL_STUDIO_API_KEY": "0" * 40, "REDIS_URL": redis_url}))
    run = control.start(work, RunOptions(project))

    execute(work, run.id)

    found = work.runs.get(run.id)
    work.close()
    assert (found.state, "LABEL_STUDIO_API_KEY" in found.message) == ("failed", True)


def test_a_wrong_key_fails_the_run_and_a_retry_finishes_it(
    studio: StudioApi, project: int, runs: RunsApi, llm: FakeLLM
) -> None:
    llm.api_key = "another"
    run = runs.start(project)
    failed = runs.ended(run)
    llm.api_key = "test-key"

    runs.call("POST", f"/runs/{run}/retry")
    found = until(lambda: (seen := runs.ended(run))["state"] != "failed" and seen)

    assert (failed["state"], "check OPENAI_API_KEY" in failed["message"]) == ("failed", True)
    assert (found["state"], found["labeled"], found["failed"]) == ("succeeded", TASKS, 0)
    assert predictions_per_task(studio, project) == {1: TASKS}


def test_a_cancelled_run_keeps_what_is_done(studio: StudioApi, project: int, runs: RunsApi, llm: FakeLLM) -> None:
    studio.import_tasks(project, [{"text": f"Shipping number {number}"} for number in range(600)])
    llm.latency_s = 0.5
    run = runs.start(project)
    until(lambda: llm.history)

    runs.call("POST", f"/runs/{run}/cancel")
    found = runs.ended(run)

    assert found["state"] == "canceled"
    assert predictions_per_task(studio, project) == {1: found["labeled"]}
    assert 0 < found["labeled"] < 900


def test_forgetting_a_project_leaves_no_key_of_it(project: int, runs: RunsApi, backend: Backend) -> None:
    runs.ended(runs.start(project, limit=10))

    backend.run("forget", "--project", str(project))

    assert backend.run("runs", "--project", str(project)) == ""
    assert (
        backend.run("prompts", "list", "--project", str(project))
        == "No prompt was submitted yet; the default prompt is used.\n"
    )


def test_a_project_forgotten_while_its_run_labels_stays_forgotten(
    studio: StudioApi, project: int, runs: RunsApi, backend: Backend, llm: FakeLLM
) -> None:
    studio.import_tasks(project, [{"text": f"Shipping number {number}"} for number in range(600)])
    llm.latency_s = 1
    run = runs.start(project)
    until(lambda: llm.history)

    backend.run("forget", "--project", str(project))

    with redis.Redis.from_url(backend.env["REDIS_URL"], decode_responses=True) as client:
        about = [key for key in client.scan_iter() if f":{project}." in key or run in key]
    assert about == []
    assert runs.call("GET", f"/runs?project={project}")["runs"] == []


def test_tasks_deleted_while_the_run_is_on_cost_no_other_its_prediction(
    studio: StudioApi, project: int, runs: RunsApi, llm: FakeLLM
) -> None:
    llm.latency_s = 1
    deleted = [task["id"] for task in studio.tasks(project)][5:8]
    run = runs.start(project)
    until(lambda: llm.history)

    for task in deleted:
        studio.call("DELETE", f"/api/tasks/{task}")
    found = runs.ended(run)

    assert [found[name] for name in ("state", "labeled", "skipped", "total")] == ["succeeded", TASKS - 3, 3, TASKS]
    assert predictions_per_task(studio, project) == {1: TASKS - 3}


def test_predicting_anew_goes_on_where_it_was_paused(
    studio: StudioApi, backend: Backend, project: int, runs: RunsApi, llm: FakeLLM
) -> None:
    studio.import_tasks(project, [{"text": f"Shipping number {number}"} for number in range(250)])
    runs.ended(runs.start(project))
    forget_answers(backend)
    asked = len(llm.history)
    llm.latency_s = 1
    run = runs.start(project, only_missing=False)
    until(lambda: len(llm.history) > asked)

    runs.call("POST", f"/runs/{run}/pause")
    paused = until(lambda: (seen := runs.call("GET", f"/runs/{run}"))["state"] == "paused" and seen)
    runs.call("POST", f"/runs/{run}/resume")
    found = runs.ended(run)

    assert 0 < paused["done"] < 550
    assert [found[name] for name in ("state", "labeled", "total")] == ["succeeded", 550, 550]
    assert len(llm.history) == 2 * asked
    assert predictions_per_task(studio, project) == {1: 550}


def forget_answers(backend: Backend) -> None:
    """As if days had passed, so that the LLM is asked the same again."""
    with redis.Redis.from_url(backend.env["REDIS_URL"]) as client:
        for key in client.scan_iter("*:answers:*"):
            client.delete(key)


@pytest.fixture
def apart(backend: Backend) -> Iterator[Mapping[str, str]]:
    """Settings of a backend with a Redis of its own, so that only a test's own workers do its runs."""
    with redis_server() as server:
        yield {**backend.env, "REDIS_URL": server.url}


@pytest.fixture
def away(apart: Mapping[str, str]) -> Iterator[Services]:
    work = build(Settings.from_env(apart))
    yield work
    work.close()


def test_a_run_whose_worker_was_killed_is_gone_on_with_by_the_next(
    studio: StudioApi, project: int, apart: Mapping[str, str], away: Services, llm: FakeLLM
) -> None:
    llm.latency_s = 0.5
    run = control.start(away, RunOptions(project))
    with rq_worker(apart) as worker:
        until(lambda: llm.history)
        for process in [*psutil.Process(worker.pid).children(recursive=True), psutil.Process(worker.pid)]:
            process.kill()

    with rq_worker(apart):
        found = until(lambda: seen if (seen := away.runs.get(run.id)).finished_at else None, within_s=60)

    assert (found.state, found.counts["labeled"], found.total) == ("succeeded", TASKS, TASKS)
    assert predictions_per_task(studio, project) == {1: TASKS}


def test_a_run_goes_through_batches_while_its_worker_is_free(
    studio: StudioApi, project: int, apart: Mapping[str, str], away: Services, llm: FakeLLM
) -> None:
    run = control.start(away, RunOptions(project, mode="batch"))
    with rq_worker(apart):
        until(lambda: away.runs.get(run.id).is_resting and not away.runs.is_worked_on(run.id))
        away.runs.update(run.id, poll_at=0)  # as if half a minute had passed
        control.take_up_abandoned(away)
        found = until(lambda: seen if (seen := away.runs.get(run.id)).finished_at else None)

    asked = Counter(text for each in llm.history for text in each.texts)
    assert (found.state, found.counts["labeled"], found.total) == ("succeeded", TASKS, TASKS)
    assert predictions_per_task(studio, project) == {1: TASKS}
    assert (set(asked.values()), len(llm.batches.batches), llm.batches.files.stored) == ({1}, 1, {})


def test_a_worker_that_is_stopped_ends_within_seconds_and_leaves_its_run_to_another(
    studio: StudioApi, project: int, apart: Mapping[str, str], away: Services, llm: FakeLLM
) -> None:
    llm.latency_s = 5
    run = control.start(away, RunOptions(project))
    with rq_worker(apart) as worker:
        until(lambda: llm.history)
        begun = time.monotonic()
        worker.process.process.terminate()
        status = worker.process.process.wait(30)
        taken_s = time.monotonic() - begun
    left = away.runs.get(run.id)
    llm.latency_s = 0

    with rq_worker(apart):
        found = until(lambda: seen if (seen := away.runs.get(run.id)).finished_at else None, within_s=60)

    assert (status, left.state, found.state, found.counts["labeled"]) == (0, "running", "succeeded", TASKS)
    assert taken_s < 10
    assert predictions_per_task(studio, project) == {1: TASKS}


def test_a_run_without_a_worker_can_be_paused_and_cancelled(
    project: int, apart: Mapping[str, str], away: Services, llm: FakeLLM
) -> None:
    llm.latency_s = 5
    run = control.start(away, RunOptions(project))
    with rq_worker(apart) as worker:
        until(lambda: llm.history)
        worker.process.process.terminate()
        worker.process.process.wait(30)

    states = [ask(away, run.id).state for ask in (control.pause, control.resume, control.pause, control.cancel)]

    assert states == ["paused", "queued", "paused", "canceled"]
    assert control.start(away, RunOptions(project)).state == "queued"


def test_answers_that_a_killed_worker_had_not_written_are_not_counted(
    studio: StudioApi, project: int, apart: Mapping[str, str], away: Services, llm: FakeLLM
) -> None:
    studio.import_tasks(project, [{"text": f"Refund number {number}"} for number in range(900)])
    llm.latency_s = 0.5
    run = control.start(away, RunOptions(project, limit=1100))
    with rq_worker(apart) as worker:
        until(lambda: away.runs.get(run.id).done >= 500)
        for process in [*psutil.Process(worker.pid).children(recursive=True), psutil.Process(worker.pid)]:
            process.kill()
    llm.latency_s = 0

    with rq_worker(apart):
        found = until(lambda: seen if (seen := away.runs.get(run.id)).finished_at else None, within_s=60)

    assert (found.state, found.counts["labeled"], found.total) == ("succeeded", 1100, 1100)
    assert predictions_per_task(studio, project) == {1: 1100}
