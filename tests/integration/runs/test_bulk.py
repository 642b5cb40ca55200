"""Bulk runs: every task gets one prediction, though Label Studio, Redis or the LLM are in trouble."""

import threading
import time

from prelabel.bootstrap import Services
from prelabel.core.types import Prediction
from prelabel.runs import control
from prelabel.runs.bulk import execute
from prelabel.runs.plan import AHEAD, AHEAD_LOOK_S
from prelabel.runs.turn import STUDIO_TIMEOUT_S
from prelabel.store.ledger import SHARD_TASKS
from prelabel.studio.client import StudioClient
from tests.e2e.waiting import until
from tests.fakes.llm_replies import Fault
from tests.fakes.llm_server import FakeLLM
from tests.integration.project_seven import REF
from tests.integration.runs.conftest import IN_HAND, Gate, Open, Site, keys_about
from tests.servers import rq_worker


def test_a_run_gives_every_task_one_prediction(site: Site) -> None:
    site.tasks.add(1100)

    run = site.do(site.start())

    assert (run.state, run.total, run.counts["labeled"]) == ("succeeded", 1100, 1100)
    assert site.per_task() == {1: 1100}


def test_a_plan_keeps_just_ahead_of_those_who_label(site: Site, llm: FakeLLM) -> None:
    site.tasks.add(12 * SHARD_TASKS)
    llm.answer = gate = Gate()
    run = site.start()
    doing = site.doing(run)
    assert gate.reached.wait(20)
    until(lambda: site.work.runs.get(run.id).planned == IN_HAND + AHEAD * SHARD_TASKS)

    time.sleep(4 * AHEAD_LOOK_S)

    found = site.work.runs.get(run.id)
    control.cancel(site.work, run.id)
    gate.opened.set()
    doing.result(30)
    assert (found.planned, found.total, found.is_planned) == (IN_HAND + AHEAD * SHARD_TASKS, 12 * SHARD_TASKS, False)


def test_a_workers_run_has_all_its_requests_in_flight(open_site: Open, llm: FakeLLM) -> None:
    """None is kept back for people who wait, as the backend does."""
    site = open_site(LLM_CONCURRENCY="16", LLM_TASKS_PER_REQUEST="1")
    site.tasks.add(80)
    llm.latency_s = 0.3

    with rq_worker(site.env):
        run = site.start()
        until(lambda: site.work.runs.get(run.id).state == "succeeded")

    assert llm.max_in_flight == 16


def test_a_finished_task_takes_at_most_200_bytes_of_redis(site: Site) -> None:
    """Answers that are kept for the next time have a setting of their own."""
    site.tasks.add(1100)
    run = site.do(site.start())

    keys = [key for key in keys_about(site, run) if ":answers:" not in key]
    taken = sum(site.work.redis.memory_usage(key, samples=0) or 0 for key in keys)

    assert taken <= 200 * run.done


def test_what_was_predicted_last_is_remembered_whatever_was_said_before(site: Site) -> None:
    first = {task: Prediction({"intent": ("refund",)}, 0.9375, "v1") for task in (3, 300)}
    other = Prediction({"intent": (), "tags": ("refund", "late")}, 0.5, "v2")

    site.work.projects.keep_predictions(REF, "v1", first)
    site.work.projects.keep_predictions(REF, "v2", {300: other})

    assert site.work.projects.predicted(REF, [3, 300, 301]) == {3: first[3], 300: other}
    site.work.projects.forget_tasks(REF, [3])
    assert site.work.projects.predicted(REF, [3, 300, 301]) == {300: other}


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


def test_what_redis_refuses_fails_the_run_with_its_words(site: Site) -> None:
    site.tasks.add(20)
    site.work.redis.set(site.work.runs._keys.of(REF, "words"), "no hash")

    run = site.do(site.start())

    assert (run.state, "WRONGTYPE" in run.message) == ("failed", True)


def test_a_run_goes_on_once_label_studio_is_back(site: Site, llm: FakeLLM) -> None:
    site.tasks.add(600)
    site.tasks.is_away = True
    doing = site.doing(run := site.start())
    threading.Event().wait(1.5)
    site.tasks.is_away = False
    doing.result(30)

    assert site.work.runs.get(run.id).state == "succeeded"
    assert site.per_task() == {1: 600}


def test_an_import_that_breaks_off_is_not_made_twice(site: Site) -> None:
    site.tasks.add(600)
    site.tasks.hangs_up_after_import = 1

    run = site.do(site.start())

    assert (run.state, run.counts["labeled"]) == ("succeeded", 600)
    assert sum(map(len, site.tasks.imports)) == 600
    assert site.per_task() == {1: 600}


def test_tickets_are_tried_again_once_their_llm_is_back(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LLM_MAX_RETRIES="0")
    site.tasks.add(100)
    llm.enqueue(*[Fault(503)] * 10)

    run = site.do(site.start())

    assert (run.state, run.counts["labeled"], run.counts["failed"]) == ("succeeded", 100, 0)


def test_predictions_that_are_dropped_without_a_word_are_told(site: Site) -> None:
    tasks = site.tasks.add(100)
    site.tasks.drops = {tasks[3]}

    run = site.do(site.start())

    assert (run.state, run.counts["labeled"], run.counts["failed"]) == ("succeeded", 99, 1)
    assert [(error["count"], error["tasks"]) for error in site.work.runs.errors(run.id)] == [(1, [tasks[3]])]
