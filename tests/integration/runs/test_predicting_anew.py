"""Bulk runs that replace predictions."""

from prelabel.runs import control
from prelabel.runs.bulk import execute
from tests.fakes.llm_replies import Fault
from tests.fakes.llm_server import FakeLLM
from tests.integration.runs.conftest import IN_HAND, Gate, Open, Site


def test_predicting_anew_leaves_one_prediction_a_task_though_it_is_cancelled(site: Site, llm: FakeLLM) -> None:
    site.tasks.add(600)
    site.do(site.start())
    site.work.redis.delete(*site.work.redis.scan_iter(match="*:answers:*"))
    llm.answer = gate = Gate()
    run = site.start(only_missing=False)
    doing = site.doing(run)
    assert gate.reached.wait(20)

    control.cancel(site.work, run.id)
    gate.opened.set()
    doing.result(30)

    ended = site.work.runs.get(run.id)
    assert 0 < ended.counts["labeled"] < 600
    assert site.tasks.per_task(ended.model_version) == {1: 600}


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
    asked_before = sum(len(each.texts) for each in llm.history)

    control.resume(site.work, run.id)
    found = site.do(run)

    asked = [text for each in llm.history for text in each.texts]
    assert (paused.state, paused.done) == ("paused", asked_before)
    assert 0 < asked_before <= IN_HAND
    assert (found.state, found.done, found.total) == ("succeeded", 1200, 1200)
    assert len(asked) == len(set(asked)) == 1200
    assert site.per_task() == {1: 1200}


def test_predicting_anew_tries_only_the_failed_tasks_again(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LLM_MAX_RETRIES="0")
    site.tasks.add(1200)
    llm.enqueue(Fault(503), Fault(503))
    run = site.start(only_missing=False)
    execute(site.work, run.id, llm_pauses_s=())
    failed = site.work.runs.get(run.id)
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
