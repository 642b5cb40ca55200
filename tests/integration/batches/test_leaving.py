"""Batch mode: runs that are paused, cancelled, given up or forgotten while the provider has their batches."""

import pytest

from prelabel.errors import RequestError
from prelabel.runs import control
from prelabel.runs.bulk import execute
from prelabel.store.run import RunOptions
from tests.e2e.waiting import until
from tests.fakes.llm_replies import Fault
from tests.fakes.llm_server import FakeLLM
from tests.integration.batches.conftest import BatchSite, assert_nothing_left
from tests.integration.conftest import TICKETS
from tests.servers import rq_worker


def test_a_paused_run_is_neither_polled_nor_gone_on_with_until_it_is_resumed(site: BatchSite, llm: FakeLLM) -> None:
    llm.batches.stages["in_progress"] = 1000
    site.studio.tasks.add(100)
    run = site.start()
    site.do(run)
    asked = list(llm.batches.requests)

    paused = control.pause(site.work, run.id)
    left_alone = site.do(run)
    requests = list(llm.batches.requests)
    control.resume(site.work, run.id)
    llm.batches.stages["in_progress"] = 0
    found = site.do_all(run)

    assert (paused.state, left_alone.state, requests) == ("paused", "paused", asked)
    assert (found.state, found.counts["labeled"]) == ("succeeded", 100)
    assert set(site.asked().values()) == {1}
    assert_nothing_left(site)


def test_what_a_cancelled_runs_batches_have_answered_is_kept_and_written(site: BatchSite, llm: FakeLLM) -> None:
    llm.batches.stages["in_progress"], llm.batches.share_done = 1000, 0.5
    site.studio.tasks.add(410)
    run = site.start()
    site.do(run)

    asked = control.cancel(site.work, run.id)
    found = site.do(run)

    assert (asked.state, asked.wanted) == ("running", "cancel")
    assert (found.state, found.counts["labeled"], found.answered) == ("canceled", 210, 0)
    assert [batch.status for batch in llm.batches.batches.values()] == ["cancelled"]
    assert site.per_task(run) == {1: 210}
    assert_nothing_left(site)


def test_a_paused_run_can_be_cancelled_and_tried_again(site: BatchSite, llm: FakeLLM) -> None:
    llm.batches.stages["in_progress"], llm.batches.share_done = 1000, 0.5
    site.studio.tasks.add(410)
    run = site.start()
    site.do(run)
    control.pause(site.work, run.id)

    control.cancel(site.work, run.id)
    canceled = site.do(run)
    llm.batches.stages["in_progress"] = 0
    control.retry(site.work, run.id)
    found = site.do_all(run)

    assert (canceled.state, canceled.done) == ("canceled", 210)
    assert (found.state, found.counts["labeled"], found.total) == ("succeeded", 410, 410)
    assert (len(site.live()), set(site.asked().values())) == (1, {1})
    assert_nothing_left(site)


def test_batches_that_take_long_to_cancel_are_seen_to_after_the_run(site: BatchSite, llm: FakeLLM) -> None:
    """Their answers are known to the next run, which may be on by then."""
    llm.batches.stages["in_progress"], llm.batches.share_done = 1000, 0.5
    llm.batches.stages["cancelling"] = 1000
    site.studio.tasks.add(410)
    run = site.start()
    site.do(run)
    control.cancel(site.work, run.id)
    canceled = site.do(run)
    left = len(llm.batches.files.stored)

    llm.batches.stages["cancelling"] = 0
    site.work.runs.update(run.id, poll_at=0)
    control.take_up_abandoned(site.work)
    with rq_worker(site.env):
        until(lambda: not site.places())
    again = site.do_all(control.start(site.work, RunOptions(7)))

    assert (canceled.state, canceled.done, left) == ("canceled", 10, 1)
    assert (again.state, again.counts["labeled"], again.counts["from_cache"]) == ("succeeded", 400, 200)
    assert site.per_task(run) == {1: 410}
    assert_nothing_left(site)


def test_a_run_that_has_failed_leaves_its_batches_to_end_and_is_gone_on_with(site: BatchSite, llm: FakeLLM) -> None:
    llm.batches.stages["in_progress"] = 1000
    site.studio.tasks.add(410)
    run = site.start()
    site.do(run)
    site.work.runs.ask(run.id, "fail", "Label Studio was away")
    failed = site.do(run)
    still = [batch.status for batch in llm.batches.batches.values()]

    llm.batches.stages["in_progress"] = 0
    execute(site.work, run.id)
    site.work.runs.update(run.id, poll_at=0)
    execute(site.work, run.id)
    kept = site.now(run)
    control.retry(site.work, run.id)
    found = site.do_all(run)

    assert (failed.state, still) == ("failed", ["in_progress"])
    assert (kept.state, kept.done, kept.answered) == ("failed", 10, 400)
    assert (found.state, found.counts["labeled"]) == ("succeeded", 410)
    assert set(site.asked().values()) == {1}
    assert_nothing_left(site)


def test_batches_of_no_use_any_more_are_cancelled_and_removed_unread(site: BatchSite, llm: FakeLLM) -> None:
    """The label config has changed: their label numbers may be those of other labels by now."""
    llm.batches.stages["in_progress"] = 1000
    site.studio.tasks.add(100)
    run = site.start()
    site.do(run)

    site.studio.projects[7]["label_config"] = TICKETS.replace('"other"', '"praise"')
    found = site.do(run)

    assert (found.state, found.done) == ("failed", 10)
    assert "start a new run" in found.message
    assert [batch.status for batch in llm.batches.batches.values()] == ["cancelled"]
    assert_nothing_left(site)


def test_forgetting_a_project_leaves_nothing_at_the_provider(site: BatchSite, llm: FakeLLM) -> None:
    llm.batches.stages["in_progress"], llm.batches.stages["cancelling"] = 1000, 1000
    site.studio.tasks.add(100)
    run = site.start()
    site.do(run)

    with pytest.raises(RequestError, match="forget the project again then"):
        control.forget_project(site.work, 7, patience_s=0.3)
    llm.batches.stages["cancelling"] = 0
    control.forget_project(site.work, 7, patience_s=5)

    assert site.work.runs.all() == []
    assert [key for key in site.work.redis.scan_iter() if run.id in key] == []
    assert_nothing_left(site)


def test_forgetting_a_project_does_not_wait_for_a_provider_that_is_away(site: BatchSite, llm: FakeLLM) -> None:
    llm.batches.stages["in_progress"] = 1000
    site.studio.tasks.add(100)
    run = site.start()
    site.do(run)
    llm.batches.disturb("retrieve", *[Fault(503)] * 10)

    control.forget_project(site.work, 7, patience_s=5)

    assert [key for key in site.work.redis.scan_iter() if run.id in key] == []


def test_a_run_is_cancelled_though_its_provider_is_away(site: BatchSite, llm: FakeLLM) -> None:
    llm.batches.stages["in_progress"] = 1000
    site.studio.tasks.add(100)
    run = site.start()
    site.work.runs.update(run.id, batch_tokens=1)
    site.do(run)
    looks = llm.batches.requests.count("retrieve")
    llm.batches.disturb("retrieve", *[Fault(503)] * 2)
    control.cancel(site.work, run.id)

    canceled = site.do(run)
    tried = llm.batches.requests.count("retrieve") - looks
    site.do(run)

    assert (canceled.state, canceled.done, tried) == ("canceled", 10, 2)
    assert {batch.status for batch in llm.batches.batches.values()} == {"cancelled"}
    assert_nothing_left(site)
