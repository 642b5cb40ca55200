"""Batch mode: a provider that refuses or is away, and workers and a Redis that die."""

import os
import time

import psutil
import pytest

from prelabel.errors import RequestError
from prelabel.runs import control
from prelabel.runs.batch import AWAY_S
from prelabel.store.ledger import BATCH, holder
from prelabel.store.run import Run
from tests.e2e.waiting import until
from tests.fakes.llm_batches import After
from tests.fakes.llm_replies import Drop, Fault
from tests.fakes.llm_server import FakeLLM
from tests.integration.batches.conftest import BatchSite, Open, assert_nothing_left
from tests.servers import rq_worker


@pytest.mark.parametrize("provider", ["openrouter", "ollama", "anthropic", "local"])
def test_a_provider_without_a_batch_api_is_refused_at_the_start(open_site: Open, provider: str) -> None:
    site = open_site(OPENAI_PROVIDER=provider)

    with pytest.raises(RequestError, match="ask it live") as refused:
        site.start()

    assert (refused.value.kind, refused.value.status, site.work.runs.all()) == ("mode", 400, [])


def test_a_server_without_a_batch_api_fails_the_run_with_what_to_do(site: BatchSite, llm: FakeLLM) -> None:
    llm.batches.is_there = False
    site.studio.tasks.add(100)

    run = site.do(site.start())

    assert (run.state, "it has no Batch API, ask it live" in run.message) == ("failed", True)
    assert "retry" not in run.message
    until(lambda: not site.places())


def test_a_batch_that_the_provider_does_not_take_fails_the_run_with_its_reason(site: BatchSite, llm: FakeLLM) -> None:
    llm.batches.most_requests = 5
    site.studio.tasks.add(100)
    run = site.start()
    site.do(run)

    found = site.do(run)

    assert (found.state, "the batch failed (too_many_tasks)" in found.message) == ("failed", True)
    assert_nothing_left(site)


def test_a_full_queue_is_waited_for_and_smaller_batches_are_tried(site: BatchSite, llm: FakeLLM) -> None:
    llm.batches.queue_tokens = 1_000
    site.studio.tasks.add(100)
    run = site.start()
    site.do(run)

    full = site.do(run)
    llm.batches.queue_tokens = None
    found = site.do_all(run)

    assert (full.state, full.is_resting, full.batch_tokens) == ("running", True, 1_000_000)
    whys = [event["why"] for event in site.work.runs.history(run.id) if event["what"] == "waiting"]
    assert whys == ["the batch failed: too much is queued in batches already"]
    assert (found.state, found.counts["labeled"]) == ("succeeded", 100)
    assert set(site.asked().values()) == {1}
    assert_nothing_left(site)


def test_a_queue_that_is_full_at_once_is_waited_for(site: BatchSite, llm: FakeLLM) -> None:
    words = {"error": {"message": "Enqueued token limit reached for gpt-4o-mini", "type": "requests", "code": None}}
    llm.batches.disturb("create", Fault(429, body=words), Fault(429, body=words))
    site.studio.tasks.add(100)
    run = site.start()

    waiting = [site.do(run) for _ in range(2)]
    found = site.do_all(run)

    assert [each.batch_tokens for each in waiting] == [1_000_000, 500_000]
    assert all(each.is_resting for each in waiting)
    assert (found.state, found.counts["labeled"]) == ("succeeded", 100)
    assert len(llm.batches.batches) == 1
    assert_nothing_left(site)


@pytest.mark.parametrize("operation", ["upload", "create", "retrieve", "content", "delete"])
@pytest.mark.parametrize("trouble", [Fault(503), Drop(), After.DROP])
def test_trouble_with_the_provider_is_waited_out_and_nothing_is_asked_twice(
    site: BatchSite, llm: FakeLLM, operation: str, trouble: Fault | Drop | After
) -> None:
    llm.batches.disturb(operation, trouble)
    site.studio.tasks.add(300)

    run = site.do_all(site.start())

    assert (run.state, run.counts["labeled"]) == ("succeeded", 300)
    assert set(site.asked().values()) == {1}
    assert site.per_task(run) == {1: 300}
    site.do(run)
    assert_nothing_left(site)


def test_a_provider_that_is_away_for_an_hour_fails_the_run_which_can_be_tried_again(
    site: BatchSite, llm: FakeLLM
) -> None:
    site.studio.tasks.add(100)
    run = site.start()
    site.do(run)
    llm.batches.disturb("retrieve", *[Fault(503)] * 2)

    waiting = site.do(run)
    site.work.runs.update(run.id, provider_away_since=time.time() - AWAY_S - 1)
    failed = site.do(run)
    control.retry(site.work, run.id)
    found = site.do_all(run)

    assert (waiting.state, waiting.is_resting, failed.state) == ("running", True, "failed")
    assert "retry" in failed.message
    assert (found.state, found.counts["labeled"]) == ("succeeded", 100)
    assert set(site.asked().values()) == {1}


def test_a_batch_that_is_gone_at_the_provider_is_asked_again(site: BatchSite, llm: FakeLLM) -> None:
    site.studio.tasks.add(100)
    run = site.start()
    site.do(run)

    llm.batches.batches.clear()
    found = site.do_all(run)

    assert (found.state, found.counts["labeled"]) == ("succeeded", 100)


def lose(site: BatchSite, run: Run) -> None:
    """As if Redis had been killed just after it kept the run's only batch."""
    kept, claim = site.work.runs.batches(run.id), site.work.runs.ledger(run.id).take(BATCH)
    assert claim
    kept.drop(claim, kept.all()[0])
    site.work.runs.ledger(run.id).give_back([claim])


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_batch_that_redis_has_lost_is_removed_at_the_provider(site: BatchSite, llm: FakeLLM, has_ended: bool) -> None:
    llm.batches.stages["in_progress"] = 1000
    site.studio.tasks.add(100)
    run = site.start()
    site.do(run)
    lose(site, run)

    [lost] = llm.batches.batches.values()
    site.do(run)
    lost.changed += 0 if has_ended else 1000
    llm.batches.stages["in_progress"] = 0
    found = site.do_all(run)
    site.do(run)

    statuses = [batch.status for batch in llm.batches.batches.values()]
    assert (found.state, found.counts["labeled"]) == ("succeeded", 100)
    assert statuses == ["completed" if has_ended else "cancelled", "completed"]
    assert_nothing_left(site)


@pytest.mark.parametrize("ends", ["cancelled", "failed", "forgotten"])
def test_a_batch_that_redis_has_lost_is_removed_though_its_run_is_not_gone_on_with(
    site: BatchSite, llm: FakeLLM, ends: str
) -> None:
    llm.batches.stages["in_progress"] = 1000
    site.studio.tasks.add(100)
    run = site.start()
    site.do(run)
    lose(site, run)

    match ends:
        case "cancelled":
            control.cancel(site.work, run.id)
            with rq_worker(site.env):
                until(lambda: llm.batches.files.stored == {})
        case "failed":
            site.work.runs.ask(run.id, "fail", "because")
            for _ in range(2):
                site.do(run)
        case _:
            control.forget_project(site.work, 7)

    assert [batch.status for batch in llm.batches.batches.values()] == ["cancelled"]
    assert_nothing_left(site)


@pytest.mark.parametrize(("was_looked_for", "statuses"), [(True, ["cancelled", "completed"]), (False, ["completed"])])
def test_a_batch_that_a_frozen_worker_submits_is_withdrawn_if_it_was_looked_for_in_vain(
    site: BatchSite, llm: FakeLLM, was_looked_for: bool, statuses: list[str]
) -> None:
    """Somebody else holds the batches by then."""
    llm.batches.stages["in_progress"] = 1000
    site.studio.tasks.add(100)
    run = site.start()
    ledger, kept = site.work.runs.ledger(run.id), site.work.runs.batches(run.id)

    def take_over(operation: str, is_done: bool) -> None:
        if operation == "create" and is_done:
            llm.batches.watch = lambda *_: None
            ledger.free(holder(os.getpid()))
            claim = ledger.take(BATCH)
            assert claim
            if was_looked_for:
                kept.drop(claim, kept.all()[0])
            ledger.give_back([claim])

    llm.batches.watch = take_over
    for _ in range(2):
        site.do(run)
    llm.batches.stages["in_progress"] = 0
    found = site.do_all(run)

    assert (found.state, found.counts["labeled"]) == ("succeeded", 100)
    assert [batch.status for batch in llm.batches.batches.values()] == statuses
    assert site.per_task(run) == {1: 100}
    assert_nothing_left(site)


MOMENTS = [
    (operation, is_done)
    for operation in ("upload", "create", "retrieve", "content", "delete")
    for is_done in (False, True)
]


def test_killed_at_every_step_a_run_loses_nothing_and_asks_nothing_twice(site: BatchSite, llm: FakeLLM) -> None:
    site.studio.tasks.add(600)
    left = list(MOMENTS)
    with rq_worker(site.env) as worker:

        def kill(operation: str, is_done: bool) -> None:
            if (operation, is_done) in left:
                left.remove((operation, is_done))
                for horse in psutil.Process(worker.pid).children():
                    horse.kill()

        llm.batches.watch = kill
        run = site.start()
        found = site.awaited(run, within_s=120)
        until(lambda: not site.places())

    assert left == []
    assert (found.state, found.counts["labeled"], found.total) == ("succeeded", 600, 600)
    assert set(site.asked().values()) == {1}
    assert len(llm.batches.batches) == 1
    assert site.per_task(run) == {1: 600}
    assert_nothing_left(site)
