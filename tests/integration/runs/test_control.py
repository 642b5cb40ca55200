"""Bulk runs that somebody pauses, cancels, resumes or tries again, at an awkward moment."""

import threading
import time
from collections.abc import Callable

import pytest
import redis
from rq import Queue
from rq.serializers import JSONSerializer

from prelabel.bootstrap import Services
from prelabel.runs import control
from prelabel.runs.bulk import execute
from prelabel.runs.turn import LOOK_S
from prelabel.store.run import Run
from prelabel.store.runs import RunExists
from tests.e2e.waiting import until
from tests.fakes.llm_server import FakeLLM
from tests.integration.runs.conftest import Gate, Site, TwoGates, enter, worked_on


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
    with worked_on(site, run):
        asked = control.pause(site.work, run.id).state

    assert (asked, site.do(run).state, llm.history) == ("paused", "paused", [])


def test_what_is_asked_between_taking_a_run_and_labelling_is_heard(site: Site, llm: FakeLLM) -> None:
    site.tasks.add(20)
    run = site.start()
    with worked_on(site, run):
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


def test_tickets_that_were_kept_back_by_a_pause_are_asked_about_once_it_is_over(site: Site, llm: FakeLLM) -> None:
    site.tasks.add(1000)
    llm.answer = gates = TwoGates()
    run = site.start()
    doing = site.doing(run)
    assert gates.others.reached.wait(20)

    control.pause(site.work, run.id)
    time.sleep(2 * LOOK_S)
    gates.first.opened.set()  # its slot would be the next ticket's
    until(lambda: site.work.runs.get(run.id).answered)
    time.sleep(0.2)
    control.resume(site.work, run.id)
    time.sleep(2 * LOOK_S)
    gates.others.opened.set()
    doing.result(60)

    ended = site.work.runs.get(run.id)
    assert (ended.state, ended.counts["labeled"], ended.counts["failed"]) == ("succeeded", 1000, 0)


@pytest.mark.parametrize("ask", [control.pause, control.cancel])
def test_what_a_run_has_written_shows_its_scores_though_it_does_not_finish(
    site: Site, llm: FakeLLM, ask: Callable[[Services, str], Run]
) -> None:
    site.tasks.add(600)
    llm.answer = gate = Gate()
    run = site.start()
    doing = site.doing(run)
    assert gate.reached.wait(20)

    ask(site.work, run.id)
    gate.opened.set()
    doing.result(30)

    ended = site.work.runs.get(run.id)
    assert 0 < ended.counts["labeled"] < 600
    assert site.studio.projects[7]["model_version"] == ended.model_version


def test_a_pause_does_not_undo_a_cancel(site: Site) -> None:
    run = site.start()
    with worked_on(site, run):
        site.work.runs.begin(run.id)
        control.cancel(site.work, run.id)
        control.pause(site.work, run.id)

    assert site.work.runs.get(run.id).wanted == "cancel"


def test_nothing_asked_of_a_run_is_left_over_when_it_is_tried_again(site: Site) -> None:
    run = site.start()
    with worked_on(site, run):
        site.work.runs.begin(run.id)
        control.cancel(site.work, run.id)
        site.work.runs.end(run.id, "failed")

    assert control.retry(site.work, run.id).wanted == ""


def test_what_a_dead_worker_had_not_written_is_not_counted_once_its_run_is_cancelled(site: Site) -> None:
    run = site.start()
    enter(site, run, {3: ("a[]", ""), 6: ("a[]", "")})

    found = control.cancel(site.work, run.id)

    assert (found.done, found.answered, found.total) == (0, 2, 2)


def test_a_new_run_waits_for_no_job_of_a_cancelled_one(site: Site) -> None:
    control.cancel(site.work, site.start().id)

    run = site.start()

    with redis.Redis.from_url(site.env["REDIS_URL"]) as client:
        jobs = Queue(site.work.jobs.name, connection=client, serializer=JSONSerializer).jobs
    assert run.id in {job.args[1] for job in jobs}


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
