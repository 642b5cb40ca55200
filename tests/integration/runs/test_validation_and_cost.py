"""Bulk runs that leave tasks for people, or may cost so much and no more."""

import pytest

from prelabel.errors import RequestError
from tests.fakes.llm_moods import Mood
from tests.fakes.llm_replies import Drop, Fault, Hang, Reply, Twist, without_usage
from tests.fakes.llm_server import FakeLLM
from tests.integration.project_seven import REF
from tests.integration.runs.conftest import Open, Site


def test_tasks_for_validation_are_drawn_from_all_and_asked_nothing(site: Site, llm: FakeLLM) -> None:
    tasks = site.tasks.add(1200)

    run = site.do(site.start(validation=100))

    withheld = site.work.projects.withheld(REF, tasks)
    asked = {text for each in llm.history for text in each.texts}
    assert (run.state, run.counts["withheld"], run.counts["labeled"], run.done) == ("succeeded", 100, 1100, 1200)
    assert len(withheld) == 100
    assert asked == {site.tasks.texts[task] for task in set(tasks) - withheld}
    assert min(withheld) < tasks[400]
    assert max(withheld) > tasks[800]
    assert site.per_task() == {1: 1100}


def test_a_further_sample_is_drawn_from_tasks_that_no_earlier_run_has_withheld(site: Site) -> None:
    tasks = site.tasks.add(300)
    site.do(site.start(validation=100))
    first = site.work.projects.withheld(REF, tasks)

    none_left = site.do(site.start(validation=50))
    run = site.do(site.start(refresh=True, validation=100))

    both = site.work.projects.withheld(REF, tasks)
    assert (none_left.total, none_left.counts["withheld"]) == (100, 100)
    assert (len(first), len(both), first < both) == (100, 200, True)
    assert (run.counts["withheld"], run.counts["labeled"]) == (200, 100)
    assert {row["task"] for row in site.tasks.predictions} == set(tasks) - both, "nor is any of an earlier version left"


def test_a_dry_run_asks_nothing_about_withheld_tasks_and_tells_what_the_others_take(
    open_site: Open, llm: FakeLLM
) -> None:
    site = open_site(LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4", LLM_TASKS_PER_REQUEST="1")
    tasks = site.tasks.add(300)
    site.work.projects.withhold(REF, tasks[:200])

    told = site.do(site.start(dry_run=True, validation=40)).estimate

    asked = {text for each in llm.history for text in each.texts}
    assert asked <= {site.tasks.texts[task] for task in tasks[200:]}
    assert told
    assert (told["tasks"], told["sampled"], told["requests"], len(llm.history)) == (300, 20, 60, 20)


def test_a_run_stops_before_it_costs_more_than_it_may(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4")
    site.tasks.add(1000)
    site.do(site.start(limit=200))

    run = site.do(site.start(max_cost=0.03))

    assert run.state == "failed"
    assert "may cost $" in run.message
    assert run.cost
    assert 0.022 < run.cost <= 0.03
    assert (run.waiting, run.answered) == (800 - run.counts["labeled"], 0)
    assert site.per_task() == {1: 200 + run.counts["labeled"]}


def test_what_a_model_thinks_beside_its_limit_is_within_what_a_run_may_cost(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4")
    llm.mood = Mood(refuses=("max_tokens", "temperature", "logprobs"), thinks=3900)
    site.tasks.add(1000)

    run = site.do(site.start(max_cost=0.1))

    assert run.state == "failed"
    assert "may cost $0.1 at most" in run.message
    assert run.cost
    assert 0.06 < run.cost <= 0.1


@pytest.mark.parametrize(
    ("reply", "may_be_billed"), [(Drop(), True), (Hang(30), True), (Fault(504), True), (Fault(503), False)]
)
def test_a_request_that_may_be_billed_unanswered_counts_as_spent(
    open_site: Open, llm: FakeLLM, reply: Reply, may_be_billed: bool
) -> None:
    site = open_site(LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4", LLM_TIMEOUT="2")
    site.tasks.add(10)
    llm.enqueue(reply)

    run = site.do(site.start(max_cost=1))

    kept = site.work.redis.hgetall(site.work.runs._keys.run(run.id))
    assert (run.state, run.counts["labeled"], run.counts["requests"]) == ("succeeded", 10, 1)
    assert (float(kept.get("lost_cost", 0)) > 0) is may_be_billed
    assert not site.work.redis.exists(site.work.runs._keys.run(run.id, "reserved"))


def test_a_run_that_cannot_know_what_it_costs_says_so(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4", LLM_CONCURRENCY="1")
    site.tasks.add(1000)
    llm.enqueue(Twist(lambda _, asked: without_usage(asked)))

    run = site.do(site.start(max_cost=1))

    assert run.state == "failed"
    assert "nobody knows the price of an answer" in run.message
    assert "LLM_PRICE_INPUT" in run.message


def test_a_run_whose_price_is_not_known_cannot_keep_to_a_cost(site: Site) -> None:
    with pytest.raises(RequestError, match="price of a model is not known"):
        site.start(max_cost=1)


def test_a_dry_run_tells_what_the_run_takes_and_writes_nothing(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4", ANSWER_CACHE_DAYS="0")
    site.tasks.add(1200)

    dry = site.do(site.start(dry_run=True))
    whole = site.do(site.start())

    assert (dry.state, dry.done, dry.total, dry.counts["requests"]) == ("succeeded", 0, 1200, 2)
    assert dry.estimate
    assert whole.cost
    assert (dry.estimate["tasks"], dry.estimate["requests"]) == (1200, whole.counts["requests"])
    assert dry.estimate["cost"] == pytest.approx(whole.cost, rel=0.05)
    assert site.per_task() == {1: 1200}
