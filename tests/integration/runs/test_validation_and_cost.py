"""Bulk runs that leave tasks for people, or may cost so much and no more."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from prelabel.asking.ask import Admission
from prelabel.config import Settings
from prelabel.core.types import Annotation, Failed, Labeled, LabelSource, Outcome
from prelabel.errors import RequestError
from prelabel.llm.exchange import ChatRequest
from prelabel.runs import control
from prelabel.store.run import RunOptions
from tests.fakes.llm_moods import Mood
from tests.fakes.llm_policy import Verdict
from tests.fakes.llm_replies import Drop, Fault, Hang, Reply, Twist, without_usage
from tests.fakes.llm_server import FakeLLM
from tests.integration.project_seven import REF
from tests.integration.runs.conftest import Open, Site


def test_tasks_for_validation_are_drawn_from_all_and_asked_about_in_secret(site: Site, llm: FakeLLM) -> None:
    tasks = site.tasks.add(1200)

    run = site.do(site.start(validation=100))

    withheld = site.work.projects.withheld(REF, tasks)
    asked = Counter(text for each in llm.history for text in each.texts)
    assert (run.state, run.counts["withheld"], run.counts["labeled"], run.done) == ("succeeded", 100, 1100, 1200)
    assert len(withheld) == 100
    assert asked == {site.tasks.texts[task]: 1 for task in tasks}
    assert {row["task"] for row in site.tasks.predictions}.isdisjoint(withheld)
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


def asked_by(llm: FakeLLM, model: str) -> Counter[str]:
    return Counter(text for each in llm.history if each.model == model for text in each.texts)


def test_first_answers_are_kept_where_the_stronger_model_may_not_be_asked_for_its_cost(
    open_site: Open, llm: FakeLLM
) -> None:
    """Its price is not known, so that nobody knows what the run has cost once it has answered."""
    one_by_one = {"LLM_CONCURRENCY": "1", "LLM_TASKS_PER_REQUEST": "1"}
    site = open_site(LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4", ANSWER_CACHE_DAYS="0", **one_by_one)
    llm.answer = lambda text, asked: Verdict(("refund",), 0.3)
    tasks = site.tasks.add(10)
    run = site.start(max_cost=1)
    site.work.projects.set_settings(REF, {"ESCALATION_MODEL": "gpt-4o"})

    found = site.do(run)

    [told] = [each["why"] for each in site.work.runs.history(run.id) if each["what"] == "escalation"]
    assert (found.state, "nobody knows the price of an answer" in told) == ("succeeded", True)
    assert asked_by(llm, "gpt-4o-mini") == dict.fromkeys(texts_of(site, tasks), 1)
    assert sum(asked_by(llm, "gpt-4o").values()) == 1
    assert (found.counts["labeled"], dict(found.stages)) == (10, {"llm": 9, "escalation": 1})
    assert site.per_task() == {1: 10}


def texts_of(site: Site, tasks: list[int]) -> list[str]:
    return [site.tasks.texts[task] for task in tasks]


@dataclass(slots=True)
class Says:
    """A gate that says these in turn of requests to the stronger model, and then the last of them."""

    answers: list[Admission]
    is_main: bool = True
    told: list[set[int]] = field(default_factory=list)

    def of(self, settings: Settings) -> "Says":
        self.is_main = settings.openai_model == "gpt-4o-mini"
        return self

    def hear(self, settled: Mapping[int, Outcome]) -> None:
        self.told.append({place for place, outcome in settled.items() if isinstance(outcome, Labeled)})

    def admits(self, request: ChatRequest) -> Admission:
        if self.is_main:
            return "yes"
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def ended(self, request: ChatRequest, lost: int) -> None:
        """Of no concern here."""


@pytest.mark.parametrize(
    ("says", "stage"), [(["no"], "llm"), (["later", "no"], "llm"), (["later", "yes"], "escalation"), (["stop"], "late")]
)
def test_an_answer_waits_for_the_stronger_model_as_long_as_that_may_be_asked_later(
    open_site: Open, llm: FakeLLM, says: list[Admission], stage: str
) -> None:
    site = open_site(ESCALATION_MODEL="gpt-4o", ANSWER_CACHE_DAYS="0")
    llm.answer = lambda text, asked: Verdict(("refund",), 0.3)
    [task] = site.tasks.add(1)
    project = site.work.service.open(REF, site.studio.projects[7]["label_config"])
    gate = Says(says)

    [outcome] = site.work.labeler.label_tasks(
        project,
        [{"id": task, "data": {"text": site.tasks.texts[task]}}],
        deadline_s=20,
        gate=gate.of,
        on_settled=gate.hear,
    )

    settled = outcome.grounds["intent"].stage if isinstance(outcome, Labeled) else "late"
    assert (settled, isinstance(outcome, Failed) and outcome.is_late) == (stage, stage == "late")
    assert sum(asked_by(llm, "gpt-4o-mini").values()) == 1
    assert sum(asked_by(llm, "gpt-4o").values()) == (stage == "escalation")
    assert [told for told in gate.told if told] == [{0}] * (stage != "late")
    assert gate.told[0] == set(), "what the first answer has cost is told before the second is asked for"


@pytest.mark.parametrize("max_cost", [0.02, 0.05])
def test_who_waits_for_money_that_others_have_reserved_asks_nothing_twice(
    open_site: Open, llm: FakeLLM, max_cost: float
) -> None:
    site = open_site(LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4", ANSWER_CACHE_DAYS="0", NUM_RESPONSES="2")
    site.tasks.add(1000)
    site.do(site.start(limit=20))

    run = site.do(site.start(max_cost=max_cost))

    assert (run.state, "may cost $" in run.message) == ("failed", True)
    assert run.cost
    assert max_cost / 2 < run.cost <= max_cost
    assert run.counts["labeled"] > 0
    assert not site.work.redis.exists(site.work.runs._keys.run(run.id, "reserved"))
    assert set(asked_by(llm, "gpt-4o-mini").values()) <= {1, 2}


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


@pytest.mark.parametrize("is_heard", [True, False])
def test_a_dry_run_tells_what_asking_in_secret_takes(open_site: Open, llm: FakeLLM, is_heard: bool) -> None:
    site = open_site(LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4", ANSWER_CACHE_DAYS="0")
    tasks = site.tasks.add(600)
    site.work.projects.withhold(REF, tasks[100:400])
    if is_heard:
        site.do(site.start(limit=1))

    dry = site.do(site.start(dry_run=True, validation=100, limit=500))
    whole = site.do(site.start(validation=100, limit=500))

    assert dry.estimate
    assert whole.cost
    assert (whole.counts["withheld"], whole.counts["labeled"]) == (400, 100)
    assert dry.estimate["requests"] == whole.counts["requests"] == (20 if is_heard else 50)
    assert dry.estimate["cost"] == pytest.approx(whole.cost, rel=0.05)


def test_a_dry_run_of_a_refresh_tells_what_asking_anew_takes_and_its_sample_is_not_asked_again(
    open_site: Open, llm: FakeLLM
) -> None:
    site = open_site(LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4")
    site.work.projects.withhold(REF, site.tasks.add(600)[:200])
    before = site.do(site.start())
    since = len(llm.history)

    dry = site.do(site.start(refresh=True, dry_run=True))
    site.do(site.start(refresh=True))

    assert dry.estimate
    assert before.cost
    assert dry.estimate["requests"] == before.counts["requests"]
    assert dry.estimate["cost"] == pytest.approx(before.cost, rel=0.05)
    assert set(Counter(text for each in llm.history[since:] for text in each.texts).values()) == {1}


def test_a_dry_run_does_not_guess_what_asking_in_secret_costs_where_it_asked_nothing(open_site: Open) -> None:
    site = open_site(LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4")
    site.work.projects.withhold(REF, site.tasks.add(5))

    dry = site.do(site.start(dry_run=True))

    assert dry.estimate
    assert (dry.estimate["tasks"], dry.estimate["cost"]) == (5, None)


def test_a_dry_run_leaves_the_project_its_method(site: Site) -> None:
    site.tasks.add(20)

    dry = site.do(control.start(site.work, RunOptions(7, dry_run=True), "ensemble"))

    assert (dry.state, dict(dry.stages)) == ("succeeded", {"ensemble": 20})
    assert dict(site.work.projects.state(REF).settings) == {}


def test_a_dry_run_knows_what_is_settled_before_an_llm_is_asked(open_site: Open, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("refunds: {label: refund, keywords: refund}", "utf-8")
    site = open_site(LABELING_METHOD="llm", RULES_FILE=str(rules), LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4")
    site.tasks.add(200)
    site.do(site.start(validation=60))
    texts = site.tasks.texts
    blind = [
        Annotation(task, task, texts[task], {"intent": ("refund",)}, LabelSource.PERSON_BLIND, 1.0, author=1)
        for task in sorted(site.work.projects.all_withheld(REF))
    ]
    site.work.annotations.put(REF, blind)

    dry = site.do(control.start(site.work, RunOptions(7, dry_run=True), "auto"))
    whole = site.do(control.start(site.work, RunOptions(7), "auto"))

    assert dry.estimate
    assert (dict(dry.stages), dry.estimate["requests"], dry.estimate["cost"]) == ({"rules": 20}, 0, 0.0)
    assert (dict(whole.stages), whole.counts["requests"], whole.cost) == ({"rules": 140}, 0, 0.0)


def test_a_dry_run_of_a_new_generation_tells_that_all_withheld_tasks_are_asked_about(open_site: Open) -> None:
    site = open_site(LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4", ANSWER_CACHE_DAYS="0")
    site.tasks.add(300)
    site.do(site.start(validation=100))

    dry = site.do(site.start(dry_run=True, refresh=True))
    whole = site.do(site.start(refresh=True))

    assert dry.estimate
    assert (dry.estimate["requests"], whole.counts["requests"]) == (30, 30)
    assert dry.estimate["cost"] == pytest.approx(whole.cost, rel=0.05)
