"""Runs into a real Label Studio while something is wrong with it, or somebody changes their mind at a bad moment."""

import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import requests

from prelabel.bootstrap import Services, build
from prelabel.config import Settings
from prelabel.runs import control
from prelabel.store.run import Run, RunOptions
from tests.e2e.backend import Backend
from tests.e2e.runs_api import CONFIG, RunsApi
from tests.e2e.studio_api import StudioApi
from tests.e2e.waiting import until
from tests.fakes.llm_faults import FaultMix
from tests.fakes.llm_server import FakeLLM
from tests.servers import LabelStudio, free_port
from tests.servers import label_studio as running_label_studio
from tests.workers import Workers

TASKS = 600
AWAY_S = 30.0


@pytest.fixture
def env(label_studio: LabelStudio, redis_url: str, llm: FakeLLM) -> Mapping[str, str]:
    return settings(label_studio, redis_url, llm)


def settings(label_studio: LabelStudio, redis_url: str, llm: FakeLLM) -> dict[str, str]:
    """Of workers of which each answers four tickets a second."""
    llm.latency_s = 5
    return {
        "OPENAI_API_KEY": llm.api_key,
        "OPENAI_BASE_URL": llm.url,
        "REDIS_URL": redis_url,
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.token,
        "LLM_CONCURRENCY": "4",
        "LLM_TASKS_PER_REQUEST": "5",
    }


@pytest.fixture
def work(env: Mapping[str, str]) -> Iterator[Services]:
    work = build(Settings.from_env(env))
    yield work
    work.close()


@pytest.fixture
def project(studio: StudioApi) -> int:
    return filled(studio)


def filled(studio: StudioApi) -> int:
    """A project with tasks."""
    project = studio.create_project("Troubled", CONFIG)
    studio.import_tasks(project, [{"text": f"Refund number {number}"} for number in range(TASKS)])
    return project


def ended(work: Services, run: Run, within_s: float = 120) -> Run:
    return until(lambda: now if (now := work.runs.get(run.id)).finished_at else None, within_s)


def per_task(studio: StudioApi, run: Run) -> dict[int, int]:
    """How many tasks have how many predictions of the run's version."""
    rows = [row for row in studio.predictions(run.options.project) if row["model_version"] == run.model_version]
    return dict(Counter(Counter(row["task"] for row in rows).values()))


def test_cancelled_in_a_write_a_run_keeps_it_and_another_does_the_rest(
    studio: StudioApi, project: int, env: Mapping[str, str], work: Services, llm: FakeLLM
) -> None:
    run = control.start(work, RunOptions(project))
    with Workers(env):
        until(lambda: work.runs.get(run.id).writing_since, look_s=0.005)
        control.cancel(work, run.id)
        canceled = ended(work, run)
        written = per_task(studio, canceled)
        llm.latency_s = 0
        rest = ended(work, control.start(work, RunOptions(project)))

    asked = [text for each in llm.history for text in each.texts]
    assert (canceled.state, canceled.done, canceled.answered) == ("canceled", canceled.counts["labeled"], 0)
    assert written == {1: canceled.done}
    assert 0 < canceled.done < TASKS
    assert (rest.state, rest.total, rest.counts["labeled"]) == ("succeeded", TASKS - canceled.done, rest.total)
    assert per_task(studio, rest) == {1: TASKS}
    assert len(asked) == len(set(asked)) == TASKS


def test_a_project_that_is_deleted_meanwhile_fails_its_run_with_the_reason(
    studio: StudioApi, project: int, env: Mapping[str, str], work: Services, llm: FakeLLM
) -> None:
    run = control.start(work, RunOptions(project))
    with Workers(env, count=1):
        until(lambda: llm.history)
        studio.call("DELETE", f"/api/projects/{project}")
        found = ended(work, run)

    assert (found.state, f"project {project}" in found.message) == ("failed", True)


def test_of_two_runs_that_are_started_at_once_one_is_refused_with_the_others_id(
    backend: Backend, project: int, llm: FakeLLM
) -> None:
    llm.latency_s = 1
    together = threading.Barrier(8)

    def start(_: int) -> tuple[int, str]:
        with requests.Session() as session:
            session.trust_env = False
            together.wait()
            reply = session.post(f"{backend.url}/runs", json={"project": project}, auth=backend.auth, timeout=30)
        return reply.status_code, str(reply.json()["id"])

    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(start, range(8)))
    runs = RunsApi(backend)
    (accepted,) = [run for status, run in said if status == 202]
    llm.latency_s = 0
    found = runs.ended(accepted)
    runs.close()

    assert sorted(said) == [(202, accepted), *[(409, accepted)] * 7]
    assert found["state"] == "succeeded"
    assert len([text for each in llm.history for text in each.texts]) == TASKS


def test_label_studio_killed_in_a_write_and_half_a_minute_away_while_the_llm_fails_costs_nothing(
    label_studio: LabelStudio, redis_url: str, llm: FakeLLM, tmp_path: Path
) -> None:
    """Nobody does anything about it but start Label Studio again."""
    home, port = tmp_path / "data", free_port()
    shutil.copytree(label_studio.home, home)
    with ExitStack() as servers, ExitStack() as first:
        there = first.enter_context(running_label_studio(home=home, port=port, like=label_studio))
        env = settings(there, redis_url, llm)
        studio = StudioApi(there.url, there.token)
        servers.callback(studio.close)
        work = build(Settings.from_env(env))
        servers.callback(work.close)
        run = control.start(work, RunOptions(filled(studio)))
        servers.enter_context(Workers(env))
        until(lambda: work.runs.get(run.id).writing_since, look_s=0.005)
        psutil.Process(there.server.pid).kill()
        is_in_a_write = bool(work.runs.get(run.id).writing_since)
        first.close()
        llm.latency_s, llm.faults = 0, FaultMix(1.0, ("503", "drop"))
        time.sleep(AWAY_S)
        llm.faults = None
        servers.enter_context(running_label_studio(home=home, port=port, like=label_studio))
        found = ended(work, run)
        written = per_task(studio, found)

    assert is_in_a_write
    assert (found.state, found.done, found.counts["labeled"], found.counts["failed"]) == ("succeeded", TASKS, TASKS, 0)
    assert written == {1: TASKS}
