"""Bulk runs: what happens when a run, its tasks or its project go away, or somebody speaks up, at an awkward moment."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from rq import Queue
from rq.serializers import JSONSerializer

from prelabel.bootstrap import Services, build
from prelabel.config import Settings
from prelabel.core.types import Prediction
from prelabel.errors import RequestError, StoreUnavailable
from prelabel.runs import control
from prelabel.runs.bulk import STUDIO_TIMEOUT_S, execute
from prelabel.runs.lease import leased
from prelabel.store.keys import ProjectRef
from prelabel.store.runs import Run, RunExists, RunOptions
from prelabel.studio.client import StudioClient
from tests.e2e.waiting import until
from tests.fakes.llm_policy import Verdict, by_words
from tests.fakes.llm_replies import Fault
from tests.fakes.llm_request import Asked
from tests.fakes.llm_server import FakeLLM
from tests.fakes.studio_server import FakeLabelStudio
from tests.fakes.studio_tasks import StudioTasks
from tests.integration.conftest import TICKETS
from tests.servers import free_port, redis_server, rq_worker

REF = ProjectRef(7, 1795235920)
PAGE = 500


@dataclass(frozen=True, slots=True)
class Site:
    """Project 7 in a Label Studio, and the services of a worker."""

    work: Services
    tasks: StudioTasks
    studio: FakeLabelStudio
    env: dict[str, str]
    aside: ThreadPoolExecutor

    def start(self, **options: bool | int | None) -> Run:
        return control.start(self.work, RunOptions(7, **options))  # type: ignore[arg-type]

    def doing(self, run: Run) -> Future[None]:
        """A worker is at the run, in a thread of its own."""
        return self.aside.submit(execute, self.work, run.id)

    def do(self, run: Run) -> Run:
        """The run, once a worker has been at it."""
        execute(self.work, run.id)
        return self.work.runs.get(run.id)

    def per_task(self) -> dict[int, int]:
        return dict(self.tasks.per_task(self.studio.projects[7]["model_version"]))


class Gate:
    """A policy that answers once it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, text: str, asked: Asked) -> Verdict:
        self.reached.set()
        assert self.opened.wait(20)
        return by_words(text, asked)


@pytest.fixture
def studio() -> Iterator[FakeLabelStudio]:
    with FakeLabelStudio() as studio:
        studio.projects[7] = {
            "id": 7,
            "title": "Tickets",
            "created_at": "2026-11-21T04:38:40.123456Z",
            "label_config": TICKETS,
            "model_version": "",
            "show_collab_predictions": True,
        }
        yield studio


Open = Callable[..., Site]


@pytest.fixture
def open_site(studio: FakeLabelStudio, redis_url: str, llm: FakeLLM) -> Iterator[Open]:
    """A site, with settings besides those that name the test's servers."""
    opened: list[Services] = []
    with ThreadPoolExecutor() as aside:

        def open_site(**settings: str) -> Site:
            env = {
                "OPENAI_API_KEY": llm.api_key,
                "OPENAI_BASE_URL": llm.url,
                "REDIS_URL": redis_url,
                "LABEL_STUDIO_URL": studio.url,
                "LABEL_STUDIO_API_KEY": studio.legacy_token,
                **settings,
            }
            work = build(Settings.from_env(env))
            opened.append(work)
            return Site(work, studio.tasks, studio, env, aside)

        yield open_site
    for work in opened:
        work.close()


@pytest.fixture
def site(open_site: Open) -> Site:
    return open_site()


def keys_about(site: Site, run: Run) -> list[str]:
    """The keys of the run and of its project."""
    return sorted(key for key in site.work.redis.scan_iter() if run.id in key or f":{REF.id}." in key)


def test_a_run_gives_every_task_one_prediction(site: Site) -> None:
    site.tasks.add(1100)

    run = site.do(site.start())

    assert (run.state, run.total, run.counts["labeled"]) == ("succeeded", 1100, 1100)
    assert site.per_task() == {1: 1100}


# forgetting


def test_a_project_that_is_forgotten_while_its_run_labels_leaves_no_key(site: Site, llm: FakeLLM) -> None:
    site.tasks.add(1200)
    llm.answer = gate = Gate()
    run = site.start()
    doing = site.doing(run)
    assert gate.reached.wait(20)

    forgetting = site.aside.submit(control.forget_project, site.work, 7)
    until(lambda: site.work.runs.get(run.id).wanted == "cancel")
    gate.opened.set()
    forgetting.result(30)
    doing.result(30)

    assert keys_about(site, run) == []
    assert site.work.runs.all() == []
    assert len(llm.history) == PAGE / 10


def test_forgetting_a_project_says_so_if_its_worker_does_not_stop(site: Site) -> None:
    run = site.start()
    with leased(site.work.runs, run.id), pytest.raises(RequestError, match="still at its last tasks"):
        control.forget_project(site.work, 7, patience_s=0.3)

    assert site.work.runs.get(run.id).state == "canceled"


def test_a_worker_whose_run_was_taken_away_all_the_same_stops_without_a_trace(site: Site, llm: FakeLLM) -> None:
    """Such as one that was frozen for longer than its lease."""
    site.tasks.add(1200)
    llm.answer = gate = Gate()
    run = site.start()
    doing = site.doing(run)
    assert gate.reached.wait(20)

    site.work.runs.forget_project(7)
    site.work.projects.forget(7)
    gate.opened.set()
    doing.result(30)

    assert keys_about(site, run) == []
    assert site.tasks.imports == []


def test_what_was_imported_as_the_run_was_taken_away_is_not_kept(site: Site) -> None:
    site.tasks.add(20)
    run = site.start()

    def forget() -> None:
        site.work.runs.forget_project(7)
        site.work.projects.forget(7)

    site.tasks.before_import = forget
    execute(site.work, run.id)
    site.work.projects.keep_predictions(REF, "v1", {3: Prediction({}, 0.5, "v1")}, run_id=run.id)

    assert keys_about(site, run) == []


def test_a_job_of_a_forgotten_run_does_nothing(site: Site, llm: FakeLLM) -> None:
    site.tasks.add(20)
    run = site.start()
    control.forget_project(site.work, 7)

    execute(site.work, run.id)

    assert (keys_about(site, run), llm.history) == ([], [])


def test_a_tasks_failures_are_forgotten_with_it(site: Site) -> None:
    run = site.start()
    site.work.runs.fail_tasks(run.id, {3: "too long", 6: "too long"})

    event = {"project": {"id": 7, "created_at": "2026-11-21T04:38:40.123456Z"}, "tasks": [{"id": 3}]}
    site.work.learning.receive("TASKS_DELETED", event)

    assert site.work.runs.failed_tasks(run.id) == {6: "too long"}


# cancelling and pausing


@pytest.mark.parametrize("delay_s", [0, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1])
def test_a_run_that_is_cancelled_while_it_is_taken_ends(site: Site, llm: FakeLLM, delay_s: float) -> None:
    site.tasks.add(600)
    llm.latency_s = 0.5
    run = site.start()
    doing = site.doing(run)
    threading.Event().wait(delay_s)

    control.cancel(site.work, run.id)
    doing.result(30)

    assert (site.work.runs.get(run.id).state, site.work.runs.going()) == ("canceled", [])


def test_what_is_asked_of_a_run_that_waits_holds_though_a_worker_takes_it(site: Site, llm: FakeLLM) -> None:
    site.tasks.add(20)
    run = site.start()
    with leased(site.work.runs, run.id):
        asked = control.pause(site.work, run.id).state

    assert (asked, site.do(run).state, llm.history) == ("paused", "paused", [])


def test_what_is_asked_between_taking_a_run_and_labelling_is_heard(site: Site, llm: FakeLLM) -> None:
    site.tasks.add(20)
    run = site.start()
    with leased(site.work.runs, run.id):
        site.work.runs.begin(run.id)
        control.cancel(site.work, run.id)
        asked = site.work.runs.get(run.id)

    execute(site.work, run.id)

    assert (asked.state, asked.wanted) == ("running", "cancel")
    assert (site.work.runs.get(run.id).state, llm.history) == ("canceled", [])


def test_a_pause_that_is_taken_back_stops_nothing(site: Site, llm: FakeLLM) -> None:
    site.tasks.add(600)
    llm.answer = gate = Gate()
    run = site.start()
    doing = site.doing(run)
    assert gate.reached.wait(20)

    control.pause(site.work, run.id)
    control.resume(site.work, run.id)
    gate.opened.set()
    doing.result(30)

    assert site.work.runs.get(run.id).state == "succeeded"


def test_a_pause_does_not_undo_a_cancel(site: Site) -> None:
    run = site.start()
    with leased(site.work.runs, run.id):
        site.work.runs.begin(run.id)
        control.cancel(site.work, run.id)
        control.pause(site.work, run.id)

    assert site.work.runs.get(run.id).wanted == "cancel"


def test_nothing_asked_of_a_run_is_left_over_when_it_is_tried_again(site: Site) -> None:
    run = site.start()
    with leased(site.work.runs, run.id):
        site.work.runs.begin(run.id)
        control.cancel(site.work, run.id)
        site.work.runs.end(run.id, "failed")

    assert control.retry(site.work, run.id).wanted == ""


def test_what_a_dead_worker_had_not_written_is_not_counted_once_its_run_is_cancelled(site: Site) -> None:
    run = site.start()
    with leased(site.work.runs, run.id):
        site.work.runs.begin(run.id)
        site.work.runs.count(run.id, labeled=30, unwritten_labeled=10)

    assert control.cancel(site.work, run.id).counts["labeled"] == 20


def test_a_new_run_waits_for_no_job_of_a_cancelled_one(site: Site) -> None:
    control.cancel(site.work, site.start().id)

    run = site.start()

    with redis.Redis.from_url(site.env["REDIS_URL"]) as client:
        jobs = Queue(site.work.jobs.name, connection=client, serializer=JSONSerializer).jobs
    assert run.id in {job.args[1] for job in jobs}


# what Label Studio does meanwhile


def test_a_task_deleted_meanwhile_costs_no_other_its_prediction(site: Site) -> None:
    tasks = site.tasks.add(600)

    def delete() -> None:
        site.tasks.before_import = lambda: None
        site.tasks.delete(tasks[10])

    site.tasks.before_import = delete
    run = site.do(site.start())

    assert (run.state, run.counts["labeled"], run.counts["skipped"], run.total) == ("succeeded", 599, 1, 600)
    assert site.per_task() == {1: 599}
    assert list(site.work.projects.predicted(REF, [tasks[10]])) == []


def test_an_import_that_is_refused_for_another_reason_fails_the_run(site: Site) -> None:
    site.tasks.add(20)

    site.tasks.refuses_imports = "Nothing of the kind"
    run = site.do(site.start())

    assert (run.state, run.done, "Nothing of the kind" in run.message) == ("failed", 0, True)


def test_a_surplus_prediction_that_is_gone_already_is_no_trouble(site: Site) -> None:
    site.work.studio().delete_prediction(4711)


def test_runs_wait_ten_minutes_for_label_studio(site: Site) -> None:
    site.tasks.add(20)
    waits: list[float] = []

    class Noting(Services):
        def studio(self, timeout_s: float = 30) -> StudioClient:
            waits.append(timeout_s)
            return super().studio(timeout_s)

    fields = {name: getattr(site.work, name) for name in Services.__dataclass_fields__}
    execute(Noting(**fields), site.start().id)

    assert set(waits) == {STUDIO_TIMEOUT_S} == {600}


# predicting anew


def test_predicting_anew_goes_on_where_it_was_paused(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(ANSWER_CACHE_DAYS="0")
    site.tasks.add(1200)
    site.do(site.start())
    llm.history.clear()
    llm.answer = gate = Gate()
    run = site.start(only_missing=False)
    doing = site.doing(run)
    assert gate.reached.wait(20)
    control.pause(site.work, run.id)
    gate.opened.set()
    doing.result(30)
    paused = site.work.runs.get(run.id)

    control.resume(site.work, run.id)
    found = site.do(run)

    asked = [text for each in llm.history for text in each.texts]
    assert (paused.state, paused.done) == ("paused", PAGE)
    assert (found.state, found.done, found.total) == ("succeeded", 1200, 1200)
    assert len(asked) == len(set(asked)) == 1200
    assert site.per_task() == {1: 1200}


def test_predicting_anew_tries_only_the_failed_tasks_again(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LLM_MAX_RETRIES="0")
    site.tasks.add(1200)
    llm.enqueue(Fault(500), Fault(500))
    failed = site.do(site.start(only_missing=False))
    asked = len(llm.history)

    found = site.do(control.retry(site.work, failed.id))

    assert (failed.state, failed.counts["failed"], failed.total) == ("succeeded", 20, 1200)
    assert (found.state, found.counts["failed"], found.counts["labeled"], found.total) == ("succeeded", 0, 1200, 1200)
    assert len(llm.history) == asked + 2
    assert site.per_task() == {1: 1200}


def test_predicting_anew_goes_on_where_it_could_not(site: Site, llm: FakeLLM) -> None:
    site.tasks.add(1200)
    run = site.start(only_missing=False)
    key, llm.api_key = llm.api_key, "another"
    failed = site.do(run)
    llm.api_key = key

    found = site.do(control.retry(site.work, run.id))

    assert failed.state == "failed"
    assert (found.state, found.done, found.total, found.counts["labeled"]) == ("succeeded", 1200, 1200, 1200)
    assert site.per_task() == {1: 1200}


# one run a project


def test_what_is_going_only_by_mistake_keeps_no_run_from_starting(site: Site) -> None:
    ended = site.start()
    control.cancel(site.work, ended.id)
    going = site.work.runs._keys.going
    for stale in (ended.id, "0123456789ab"):
        site.work.redis.hset(going, "7", stale)

        assert site.work.runs.going() == []
        run = site.start()
        assert [each.id for each in site.work.runs.going()] == [run.id]
        control.cancel(site.work, run.id)


def test_a_job_of_an_ended_run_sets_right_what_is_going(site: Site) -> None:
    run = site.start()
    control.cancel(site.work, run.id)
    site.work.redis.hset(site.work.runs._keys.going, "7", run.id)

    execute(site.work, run.id)

    assert site.work.redis.hgetall(site.work.runs._keys.going) == {}


def test_a_run_is_tried_again_only_while_no_other_is_going_and_once(site: Site) -> None:
    first = site.start()
    control.cancel(site.work, first.id)
    second = site.start()

    with pytest.raises(RunExists, match=second.id):
        site.work.runs.reopen(first.id)
    with pytest.raises(RunExists, match=second.id):
        site.work.runs.reopen(second.id)


# Redis


def test_what_redis_refuses_fails_the_run_with_its_words(site: Site) -> None:
    site.tasks.add(20)
    site.work.redis.set(site.work.runs._keys.of(REF, "predicted"), "no hash")

    run = site.do(site.start())

    assert (run.state, "WRONGTYPE" in run.message) == ("failed", True)


def test_a_run_outlives_a_restart_of_redis(open_site: Open, llm: FakeLLM, tmp_path: Path) -> None:
    """One that keeps what it is told, as the README asks for."""
    options, port = ("--appendonly", "yes", "--appendfsync", "always"), free_port()
    llm.latency_s = 1
    with ExitStack() as servers:
        first = servers.enter_context(redis_server(options, home=tmp_path, port=port))
        site = open_site(REDIS_URL=first.url)
        site.tasks.add(1200)
        run = site.start()
        with rq_worker(site.env):
            until(lambda: llm.history)
            servers.close()
            with redis_server(options, home=tmp_path, port=port):
                llm.latency_s = 0
                found = until(lambda: seen if (seen := _seen(site, run)) and seen.finished_at else None, within_s=90)

    assert (found.state, found.counts["labeled"], found.total) == ("succeeded", 1200, 1200)
    assert site.per_task() == {1: 1200}


def _seen(site: Site, run: Run) -> Run | None:
    with suppress(StoreUnavailable):
        return site.work.runs.get(run.id)
    return None
