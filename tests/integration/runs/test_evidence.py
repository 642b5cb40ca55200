"""What a run learns of tasks that people label blind: asked about in secret, compared, and all scores made of it."""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from prelabel.core.types import Annotation, LabelSource, Prediction
from prelabel.errors import RequestError
from prelabel.project import Project
from prelabel.quality.scoring import Scoring
from prelabel.runs import control
from prelabel.runs.bulk import execute
from prelabel.runs.turn import LOOK_S
from prelabel.store.ledger import PLAN, WRITE, holder
from prelabel.store.run import Run, RunOptions
from tests.e2e.waiting import until
from tests.fakes.llm_policy import Verdict
from tests.fakes.llm_replies import Fault, error_body
from tests.fakes.llm_request import Asked
from tests.fakes.llm_server import FakeLLM
from tests.integration.project_seven import REF
from tests.integration.runs.conftest import Gate, Open, Site, keys_about
from tests.servers import rq_worker

PRICES = {"LLM_PRICE_INPUT": "1", "LLM_PRICE_OUTPUT": "4"}
ONE_BY_ONE = {"LLM_CONCURRENCY": "1", "LLM_TASKS_PER_REQUEST": "1"}
TASKS, BLIND = 160, 80
TWO_CONTROLS = """
<View>
  <Text name="text" value="$text"/>
  <Choices name="intent" toName="text"><Choice value="refund"/><Choice value="shipping"/></Choices>
  <Choices name="tags" toName="text" choice="multiple"><Choice value="angry"/><Choice value="vip"/></Choices>
</View>
"""


def number_of(text: str) -> int:
    return int(text.rsplit(maxsplit=1)[-1])


def doubtful(text: str, _: Asked) -> Verdict:
    """Refund, of every other ticket with less confidence; of every other of those that is wrong."""
    return Verdict(("refund",), 0.9 if number_of(text) % 2 else 0.7)


def truth(text: str) -> str:
    return "other" if number_of(text) % 4 == 0 else "refund"


def said(task: int, text: str, label: str, source: LabelSource = LabelSource.PERSON_BLIND) -> Annotation:
    return Annotation(task, task, text, {"intent": (label,)}, source, 1.0, author=1)


def label_blind(site: Site, tasks: Iterable[int], label: Callable[[str], str] = truth) -> None:
    texts = site.tasks.texts
    site.work.annotations.put(REF, [said(task, texts[task], label(texts[task])) for task in tasks])


def opened(site: Site) -> Project:
    return site.work.service.open(REF, site.studio.projects[7]["label_config"])


def withheld(site: Site) -> set[int]:
    return site.work.projects.all_withheld(REF)


def asked(llm: FakeLLM, since: int = 0) -> Counter[str]:
    return Counter(text for each in llm.history[since:] for text in each.texts)


def texts_of(site: Site, tasks: Iterable[int]) -> set[str]:
    return {site.tasks.texts[task] for task in tasks}


def scores(site: Site) -> dict[int, float]:
    """Of the version that the project has now, by task."""
    version = opened(site).version
    return {row["task"]: row["score"] for row in site.tasks.predictions if row["model_version"] == version}


def results(site: Site) -> dict[int, Any]:
    """Labels by task."""
    version = opened(site).version
    return {
        row["task"]: sorted((region["from_name"], *region["value"]["choices"]) for region in row["result"])
        for row in site.tasks.predictions
        if row["model_version"] == version
    }


def with_evidence(site: Site, llm: FakeLLM) -> Run:
    """A run whose validation sample people have labelled by now."""
    llm.answer = doubtful
    site.tasks.add(TASKS)
    run = site.do(site.start(validation=BLIND))
    label_blind(site, withheld(site))
    return run


def test_tasks_that_are_drawn_are_asked_about_once_in_secret(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(**PRICES)
    tasks = site.tasks.add(200)

    run = site.do(site.start(validation=30))

    drawn = withheld(site)
    spent = (run.counts["prompt_tokens"] + 4 * run.counts["completion_tokens"]) / 1e6
    assert (run.state, run.counts["withheld"], run.counts["labeled"], len(drawn)) == ("succeeded", 30, 170, 30)
    assert asked(llm) == dict.fromkeys(texts_of(site, tasks), 1)
    assert site.work.evidence.lacking(opened(site), drawn) == set()
    assert {row["task"] for row in site.tasks.predictions} == set(tasks) - drawn
    assert site.work.projects.predicted(REF, sorted(drawn)) == {}
    assert run.counts["requests"] == len(llm.history)
    assert run.cost == pytest.approx(spent)
    assert dict(run.stages) == {"llm": 170}


def test_what_is_sealed_tells_nobody_a_word_of_a_ticket(site: Site, llm: FakeLLM) -> None:
    site.tasks.add(20)
    site.do(site.start(validation=5))

    [key] = [key for key in site.work.redis.scan_iter() if ":sealed:" in key]
    kept = site.work.redis.hgetall(key)

    assert set(kept) == {str(task) for task in withheld(site)}
    assert not any("refund" in text for text in kept.values())
    assert site.work.redis.ttl(key) > 0


def test_the_next_run_asks_about_them_no_more(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(ANSWER_CACHE_DAYS="0")
    site.tasks.add(40)
    site.do(site.start(validation=10))
    since, more = len(llm.history), site.tasks.add(10)

    site.do(site.start(validation=5))

    again = asked(llm, since)
    assert len(withheld(site)) > 9
    assert texts_of(site, more) <= set(again)
    assert not again.keys() & texts_of(site, withheld(site) - set(more))
    assert {again[text] for text in texts_of(site, withheld(site) & set(more))} == {1}


def test_a_refresh_asks_about_them_anew_as_the_llm_answers_with_all_reviews(site: Site, llm: FakeLLM) -> None:
    with_evidence(site, llm)
    reviews = [said(task, f"I want my money back {task}", "refund", LabelSource.PERSON) for task in range(900, 930)]
    site.work.annotations.put(REF, reviews)
    drawn, since = texts_of(site, withheld(site)), len(llm.history)

    site.do(site.start(refresh=True))

    again = [each for each in llm.history[since:] if set(each.texts) & drawn]
    assert Counter(text for each in again for text in each.texts) == dict.fromkeys(drawn, 1)
    assert all(each.examples for each in again)


def test_another_prompt_is_not_judged_by_what_this_one_said(site: Site, llm: FakeLLM) -> None:
    site.tasks.add(40)
    site.do(site.start(validation=10))
    version = site.work.prompts.add(REF, "Be kind.", 1).version
    site.work.projects.begin_generation(REF)
    site.work.prompts.promote(REF, version)
    since = len(llm.history)

    lacking = site.work.evidence.lacking(opened(site), withheld(site))
    site.do(site.start())

    again = asked(llm, since)
    assert lacking == withheld(site)
    assert {again[text] for text in texts_of(site, withheld(site))} == {1}
    assert site.work.evidence.lacking(opened(site), withheld(site)) == set()


def test_another_model_is_not_judged_by_what_this_one_said(open_site: Open, llm: FakeLLM) -> None:
    site = open_site()
    site.tasks.add(40)
    site.do(site.start(validation=10))
    other = open_site(OPENAI_MODEL="gpt-4o")
    since = len(llm.history)

    other.do(other.start())

    again = [each for each in llm.history[since:] if set(each.texts) & texts_of(other, withheld(other))]
    assert {text for each in again for text in each.texts} >= texts_of(other, withheld(other))
    assert {each.model for each in again} == {"gpt-4o"}
    assert site.work.evidence.lacking(opened(site), withheld(site)) == set()


@pytest.mark.parametrize("method", ["rules", "weak_model"])
def test_where_no_llm_labels_none_is_asked_in_secret(open_site: Open, llm: FakeLLM, method: str) -> None:
    site = open_site(LABELING_METHOD=method)
    site.tasks.add(20)

    run = site.do(site.start(validation=5))

    assert (run.counts["withheld"], llm.history) == (5, [])


def test_the_stronger_model_is_asked_in_secret_too(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(ESCALATION_MODEL="gpt-4o", **PRICES)
    site.tasks.add(20)

    run = site.do(site.start(validation=20))

    by_model = {model: asked_by(llm, model) for model in ("gpt-4o-mini", "gpt-4o")}
    assert by_model == dict.fromkeys(by_model, dict.fromkeys(texts_of(site, withheld(site)), 1))
    assert (run.state, run.counts["requests"]) == ("succeeded", len(llm.history))
    assert site.work.evidence.lacking(opened(site), withheld(site)) == set()


def asked_by(llm: FakeLLM, model: str) -> Counter[str]:
    return Counter(text for each in llm.history if each.model == model for text in each.texts)


class Third(Gate):
    """Answers two requests at once, and all others when it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def __call__(self, text: str, asked: Asked) -> Any:
        self._count += 1
        return doubtful(text, asked) if self._count < 3 else super().__call__(text, asked)


@pytest.mark.parametrize("is_drawn", [True, False])
def test_a_run_that_is_paused_while_it_asks_in_secret_goes_on_there(
    open_site: Open, llm: FakeLLM, is_drawn: bool
) -> None:
    site = open_site(ANSWER_CACHE_DAYS="0", **ONE_BY_ONE, **PRICES)
    tasks = site.tasks.add(12)
    if not is_drawn:
        site.work.projects.withhold(REF, tasks[:8])
    llm.answer = gate = Third()
    run = site.start(validation=8 if is_drawn else 0)
    doing = site.doing(run)
    assert gate.reached.wait(20)

    control.pause(site.work, run.id)
    time.sleep(10 * LOOK_S)  # until the turn has heard of it
    gate.opened.set()
    doing.result(30)
    paused = site.work.runs.get(run.id)
    so_far = len(llm.history)
    control.resume(site.work, run.id)
    found = site.do(run)

    assert (paused.state, paused.is_planned, so_far < 8) == ("paused", False, True)
    assert asked(llm) == dict.fromkeys(site.tasks.texts.values(), 1)
    assert site.work.evidence.lacking(opened(site), withheld(site)) == set()
    assert (found.state, found.counts["withheld"], found.counts["labeled"]) == ("succeeded", 8, 4)
    assert (paused.counts["requests"], found.counts["requests"]) == (so_far, 12)


def test_a_run_that_is_paused_while_it_asks_in_secret_begins_one_generation(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(**ONE_BY_ONE)
    site.work.projects.withhold(REF, site.tasks.add(12)[:8])
    before = opened(site).state.generation
    llm.answer = gate = Third()
    run = site.start(refresh=True)
    doing = site.doing(run)
    assert gate.reached.wait(20)

    control.pause(site.work, run.id)
    time.sleep(10 * LOOK_S)  # until the turn has heard of it
    gate.opened.set()
    doing.result(30)
    paused = opened(site).state.generation
    control.resume(site.work, run.id)
    found = site.do(run)

    assert (paused, opened(site).state.generation) == (before + 1, before + 1)
    assert (found.state, found.generation, found.model_version) == ("succeeded", before + 1, opened(site).version)


def test_a_generation_that_another_has_begun_meanwhile_stays(site: Site) -> None:
    site.tasks.add(4)
    run = site.start(refresh=True)
    site.work.runs.update(run.id, generation=2)  # and the worker died
    for _ in range(3):
        site.work.projects.begin_generation(REF)

    found = site.do(run)

    assert (found.state, opened(site).state.generation) == ("succeeded", 4)


@pytest.mark.parametrize("options", [{}, {"refresh": True}])
def test_a_run_outlives_that_label_studio_is_away_while_it_asks_in_secret(
    site: Site, llm: FakeLLM, options: dict[str, Any]
) -> None:
    site.work.projects.withhold(REF, site.tasks.add(20)[:5])
    before = opened(site).state.generation
    listed, left = site.tasks.listed, [2]

    def away(query: Mapping[str, list[str]]) -> tuple[int, Any]:
        if json.loads(query["query"][0]).get("selectedItems") and left[0]:
            left[0] -= 1
            return 502, "<h1>502 Bad Gateway</h1>"
        return listed(query)

    site.tasks.listed = away  # type: ignore[method-assign]
    run = site.start(**options)

    site.doing(run).result(60)

    found = site.work.runs.get(run.id)
    assert (found.state, found.counts["labeled"], left) == ("succeeded", 15, [0])
    assert opened(site).state.generation == before + bool(options)
    assert site.work.evidence.lacking(opened(site), withheld(site)) == set()


def test_a_run_that_is_cancelled_while_it_asks_in_secret_ends(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(**ONE_BY_ONE)
    site.work.projects.withhold(REF, site.tasks.add(12))
    llm.answer = gate = Third()
    run = site.start()
    doing = site.doing(run)
    assert gate.reached.wait(20)

    control.cancel(site.work, run.id)
    gate.opened.set()
    doing.result(30)

    found = site.work.runs.get(run.id)
    assert (found.state, found.counts["requests"], len(llm.history)) == ("canceled", 3, 3)
    assert len(site.work.evidence.lacking(opened(site), withheld(site))) == 9


@pytest.mark.parametrize("is_drawn", [True, False])
def test_whoever_takes_over_from_a_dead_worker_asks_only_about_the_rest(
    open_site: Open, llm: FakeLLM, is_drawn: bool
) -> None:
    site = open_site(ANSWER_CACHE_DAYS="0", **ONE_BY_ONE)
    tasks = site.tasks.add(12)
    if not is_drawn:
        site.work.projects.withhold(REF, tasks[:8])
    llm.answer = gate = Third()
    run = site.start(validation=8 if is_drawn else 0)
    doing = site.doing(run)
    assert gate.reached.wait(20)

    ledger = site.work.runs.ledger(run.id)
    ledger.free(holder(os.getpid()))
    taken = ledger.take(PLAN)
    assert taken
    ledger.give_back([taken])
    gate.opened.set()
    doing.result(60)
    found = site.do(run) if not site.work.runs.get(run.id).finished_at else site.work.runs.get(run.id)

    assert sum(asked(llm).values()) <= 13
    assert site.work.evidence.lacking(opened(site), withheld(site)) == set()
    assert (found.state, found.counts["withheld"], found.counts["labeled"]) == ("succeeded", 8, 4)


def test_asking_in_secret_keeps_to_what_the_run_may_cost(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(**PRICES)
    site.tasks.add(1000)
    site.do(site.start(limit=200))
    since = len(llm.history)

    run = site.do(site.start(max_cost=0.01, validation=700))

    assert (run.state, "may cost $" in run.message) == ("failed", True)
    assert run.cost
    assert 0.005 < run.cost <= 0.01
    assert run.counts["requests"] == len(llm.history) - since
    assert run.counts["labeled"] == 0


def test_a_sample_that_the_llm_does_not_answer_is_asked_about_by_the_next_run(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LLM_MAX_RETRIES="0")
    site.tasks.add(40)
    llm.enqueue(Fault(503))

    run = site.do(site.start(validation=10))
    lacking = site.work.evidence.lacking(opened(site), withheld(site))
    site.do(site.start())

    told = [event["why"] for event in site.work.runs.history(run.id) if event["what"] == "evidence"]
    assert (run.state, run.counts["withheld"], run.counts["failed"]) == ("succeeded", 10, 0)
    assert lacking == withheld(site)
    assert [why.partition(":")[0] for why in told] == ["of 10 withheld tasks an LLM was not heard"]
    assert site.work.evidence.lacking(opened(site), withheld(site)) == set()


def test_a_secret_question_shows_neither_the_task_nor_near_copies_of_it(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LLM_TASKS_PER_REQUEST="1")
    ticket = "I paid twice for the blue bicycle with the wicker basket, and I want one half of my money back by May 1"
    [own] = site.tasks.add(1)
    site.tasks.texts[own] = ticket
    others = {901: ticket, 902: f"{ticket[:-1]}2", 903: ticket.upper(), 904: "I want my money back for the lamp"}
    site.work.annotations.put(
        REF,
        [
            said(own, ticket, "refund"),
            *(said(task, text, "refund", LabelSource.PERSON) for task, text in others.items()),
        ],
    )
    site.work.projects.withhold(REF, [own])

    site.do(site.start())

    [request] = llm.asked_about(ticket)
    assert [example["text"] for example in request.examples] == [others[904]]


def test_no_secret_question_shows_near_copies_of_any_ticket_that_is_asked_beside_it(site: Site, llm: FakeLLM) -> None:
    told = "I paid twice for the blue bicycle with the wicker basket and"
    texts = [f"{told} I want half of my money back", f"{told} it still has not come, where is it please"]
    own = site.tasks.add(2)
    site.tasks.texts.update(zip(own, texts, strict=True))
    others = {901: texts[0], 902: texts[1].upper(), 903: "a blue bicycle"}
    reviews = [said(task, text, "refund", LabelSource.PERSON) for task, text in others.items()]
    site.work.annotations.put(REF, reviews)
    site.work.projects.withhold(REF, own)

    site.do(site.start())

    [request] = llm.history
    assert sorted(request.texts) == sorted(texts)
    assert [example["text"] for example in request.examples] == [others[903]]


def test_what_an_llm_refuses_is_no_evidence_of_what_no_label_fits(site: Site, llm: FakeLLM) -> None:
    choice = '<Choices name="intent" toName="text" choice="multiple">'
    xml = site.studio.projects[7]["label_config"]
    site.studio.projects[7]["label_config"] = re.sub(r'<Choices name="intent" toName="text"[^>]*>', choice, xml)
    [task, *_] = site.tasks.add(1)
    site.work.projects.withhold(REF, [task])
    llm.enqueue(Fault(400, body=error_body("...", code="content_filter")))
    site.do(site.start())
    site.work.annotations.put(REF, [replace(said(task, site.tasks.texts[task], "refund"), labels={"intent": ()})])

    methods, _ = site.work.evidence.report(opened(site), site.work.studio())

    assert site.work.evidence.lacking(opened(site), [task]) == set()
    assert "llm" not in {each.method for each in methods.figures}


def test_a_refresh_makes_its_scores_of_what_was_labelled_blind(site: Site, llm: FakeLLM) -> None:
    first = with_evidence(site, llm)
    before = scores(site)

    run = site.do(site.start(refresh=True))

    told = control.describe(site.work, run)
    judged = {stage["stage"]: (stage["judged"], stage["accuracy"]) for stage in told["stages"]}
    project, after = opened(site), scores(site)
    assert (first.evidence["tasks"], control.describe(site.work, first)["evidence"]) == (0, 0)
    assert [stage["accuracy"] for stage in control.describe(site.work, first)["stages"]] == [None]
    assert (run.state, run.evidence["tasks"], told["evidence"]) == ("succeeded", BLIND, BLIND)
    assert told["is_calibrated"] is True
    assert sum(count for count, _ in judged.values()) <= BLIND
    assert all(share is None or 0 <= share <= 1 for _, share in judged.values())
    assert judged["llm"][0] > 0
    assert sum(stage["tasks"] for stage in told["stages"]) == TASKS - BLIND
    assert sum(stage["share"] for stage in told["stages"]) == pytest.approx(1)
    assert project.scoring.evidence == BLIND
    assert {round(score, 2) for score in before.values()} == {0.9, 0.7}
    assert after != before
    assert site.per_task() == {1: TASKS - BLIND}


def test_the_stronger_model_is_judged_by_what_it_said_of_blind_labels(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(ESCALATION_MODEL="gpt-4o", FEW_SHOT_EXAMPLES="0")
    llm.answer = lambda text, asked: Verdict((truth(text),), 0.9) if asked.model == "gpt-4o" else doubtful(text, asked)
    site.tasks.add(TASKS)
    site.do(site.start(validation=BLIND))
    label_blind(site, withheld(site))

    run = site.do(site.start(refresh=True))

    told = {stage["stage"]: stage for stage in control.describe(site.work, run)["stages"]}
    assert (run.state, run.evidence["tasks"]) == ("succeeded", BLIND)
    assert told["escalation"]["judged"] > 0
    assert told["escalation"]["accuracy"] == 1
    assert sum(stage["tasks"] for stage in told.values()) == TASKS - BLIND
    assert {stage["cost"] for name, stage in told.items() if name in {"llm", "escalation"}} == {None}


def test_what_a_stage_costs_is_told_with_it(open_site: Open) -> None:
    site = open_site(**PRICES)
    site.tasks.add(40)

    run = site.do(site.start())

    [told] = control.describe(site.work, run)["stages"]
    assert (told["stage"], told["tasks"], told["share"]) == ("llm", 40, 1.0)
    assert told["cost"] == run.cost
    assert run.cost


@pytest.mark.parametrize(
    ("controls", "settings"), [(["intent"], {}), (["intent"], {"NUM_RESPONSES": "3"}), (["intent", "tone", "team"], {})]
)
def test_what_speaks_for_labels_is_within_the_200_bytes_of_a_task(
    open_site: Open, llm: FakeLLM, controls: list[str], settings: dict[str, str]
) -> None:
    """Reviews and answers that are kept for the next time are not a run's."""
    site = open_site(**settings)
    questions = "".join(
        f'<Choices name="{name}" toName="text"><Choice value="refund"/><Choice value="other"/></Choices>'
        for name in controls
    )
    site.studio.projects[7]["label_config"] = f'<View><Text name="text" value="$text"/>{questions}</View>'
    reviewed = {number: ("refund", "other")[number % 2] for number in range(500_000, 500_060)}
    site.work.annotations.put(
        REF,
        [
            Annotation(task, task, f"where is {task}", dict.fromkeys(controls, (label,)), LabelSource.PERSON, 1.0)
            for task, label in reviewed.items()
        ],
    )
    tasks = site.tasks.add(1100)
    elsewhere = set(site.work.redis.scan_iter())

    run = site.do(site.start(validation=100))

    keys = [key for key in keys_about(site, run) if ":answers:" not in key and key not in elsewhere]
    taken = sum(site.work.redis.memory_usage(key, samples=0) or 0 for key in keys)
    found = site.work.projects.predicted(REF, tasks).values()
    assert all({"logprob", "stated", "weak"} <= set(each.grounds[name].signals) for each in found for name in controls)
    assert taken <= 200 * run.done


def test_the_scores_of_a_version_stay_though_more_is_labelled(site: Site, llm: FakeLLM) -> None:
    with_evidence(site, llm)
    site.do(site.start(refresh=True))
    scoring = opened(site).scoring
    more = site.tasks.add(40)
    label_blind(site, more)

    run = site.do(site.start())

    assert opened(site).scoring == scoring
    assert run.evidence["tasks"] == BLIND


def test_a_plain_run_leaves_the_scores_of_a_version_alone_and_says_what_waits(site: Site, llm: FakeLLM) -> None:
    with_evidence(site, llm)
    before = scores(site)
    site.tasks.add(10)

    run = site.do(site.start())
    waits = [event["why"] for event in site.work.runs.history(run.id) if event["what"] == "evidence"]
    after = {task: score for task, score in scores(site).items() if task in before}
    scored = site.do(site.start(rescore=True))

    assert (run.state, run.evidence["tasks"], after) == ("succeeded", 0, before)
    assert waits == [f"{BLIND} tasks labelled blind wait for 'run --project 7 --rescore'"]
    assert (scored.state, scored.evidence["tasks"], opened(site).scoring.evidence) == ("succeeded", BLIND, BLIND)


def test_a_run_that_has_nothing_beside_it_makes_its_scores_of_what_is_labelled_blind(site: Site, llm: FakeLLM) -> None:
    with_evidence(site, llm)
    site.work.projects.begin_generation(REF)

    run = site.do(site.start())

    assert (run.state, run.evidence["tasks"]) == ("succeeded", BLIND)
    assert set(opened(site).scoring.of("intent").calibration.calibrators) >= {"llm"}


def test_what_was_fitted_for_a_version_that_is_past_is_not_frozen(site: Site, llm: FakeLLM) -> None:
    with_evidence(site, llm)
    old = opened(site)
    site.do(site.start(refresh=True))
    new = opened(site)

    frozen = site.work.evidence.freeze(old, Scoring(500))

    assert frozen is False
    assert opened(site).scoring == new.scoring != Scoring()
    assert site.work.evidence.freeze(new, Scoring(81)) is True
    assert opened(site).scoring == Scoring(81)
    assert site.work.evidence.freeze(new, Scoring(82), anew=False) is True
    assert opened(site).scoring == Scoring(81)


@pytest.mark.parametrize("change", ["generation", "prompt", "settings"])
def test_nothing_is_frozen_once_a_project_has_moved(site: Site, change: str) -> None:
    old = opened(site)
    version = site.work.prompts.add(REF, "Be kind.", 1).version
    moves: dict[str, Callable[[], object]] = {
        "generation": lambda: site.work.projects.begin_generation(REF),
        "prompt": lambda: site.work.prompts.promote(REF, version),
        "settings": lambda: site.work.projects.set_settings(REF, {"LABELING_METHOD": "llm"}),
    }

    moves[change]()

    assert site.work.evidence.freeze(old, Scoring(500)) is False
    assert site.work.projects.state(REF).scorings == {}


def test_scoring_anew_takes_what_the_llm_says_in_this_generation(site: Site, llm: FakeLLM) -> None:
    with_evidence(site, llm)
    site.work.projects.begin_generation(REF)

    failed = site.do(site.start(rescore=True))

    assert (failed.state, opened(site).scoring) == ("failed", Scoring())
    assert f"of {BLIND} tasks labelled blind the LLM has not been heard" in failed.message


def test_what_is_frozen_counts_for_its_version_alone(site: Site, llm: FakeLLM) -> None:
    with_evidence(site, llm)
    site.do(site.start(rescore=True))
    frozen = opened(site).scoring

    site.work.projects.begin_generation(REF)

    assert frozen.evidence == BLIND
    assert opened(site).scoring == Scoring()


def test_a_version_that_comes_back_keeps_its_scores(site: Site, llm: FakeLLM) -> None:
    with_evidence(site, llm)
    site.do(site.start(rescore=True))
    before, frozen = opened(site).version, opened(site).scoring
    control.start(site.work, RunOptions(7), method="ensemble")
    site.do(site.work.runs.going()[0])
    between = opened(site)

    site.work.projects.set_settings(REF, {"LABELING_METHOD": ""})

    assert (between.version == before, between.scoring.evidence) == (False, BLIND)
    assert (opened(site).version, opened(site).scoring) == (before, frozen)


def test_what_is_frozen_goes_when_a_later_generation_has_its_own(site: Site, llm: FakeLLM) -> None:
    with_evidence(site, llm)
    site.do(site.start(rescore=True))

    site.do(site.start(refresh=True))

    assert site.work.projects.state(REF).scorings.keys() == {opened(site).version}


def trained(site: Site) -> None:
    """*Start Training* has been seen to."""
    texts, generation = site.tasks.texts, opened(site).state.generation
    site.tasks.annotations = {task: [chosen(task, truth(texts[task]))] for task in sorted(withheld(site))}
    with rq_worker(site.env):
        site.work.jobs.put("rebuild", REF)
        until(lambda: not any(site.work.redis.scan_iter("rq:job:*")))
    assert opened(site).state.generation == generation + 1


def test_training_begins_a_generation_with_the_scores_of_all_evidence(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LABELING_METHOD="weak_model")
    with_evidence(site, llm)
    before = opened(site)

    trained(site)

    after = opened(site)
    assert (before.scoring, before.version == after.version) == (Scoring(), False)
    assert after.scoring.evidence == BLIND


def test_training_leaves_scores_to_the_run_that_asks_the_llm(site: Site, llm: FakeLLM) -> None:
    with_evidence(site, llm)

    trained(site)
    between = opened(site)
    unheard = site.work.evidence.unheard(between)
    run = site.do(site.start())

    assert (between.scoring, unheard) == (Scoring(), withheld(site))
    assert (run.state, run.evidence["tasks"]) == ("succeeded", BLIND)
    assert set(opened(site).scoring.of("intent").calibration.calibrators) >= {"llm"}


def chosen(number: int, label: str) -> dict[str, Any]:
    """An annotation as Label Studio lists it."""
    region = {"from_name": "intent", "to_name": "text", "type": "choices", "value": {"choices": [label]}}
    return {
        "id": number,
        "result": [{**region, "origin": "manual"}],
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2026-11-21T09:00:00.000000Z",
        "updated_at": "2026-11-21T09:00:00.000000Z",
        "completed_by": 1,
        "parent_prediction": None,
    }


@pytest.mark.parametrize("method", ["auto", "llm", "ensemble", "weak_model"])
def test_scores_are_the_same_whether_a_run_writes_them_or_they_are_made_anew(
    open_site: Open, llm: FakeLLM, method: str
) -> None:
    site = open_site(LABELING_METHOD=method)
    with_evidence(site, llm)
    site.do(site.start(refresh=True))
    written, labels, since = scores(site), results(site), len(llm.history)

    first = site.do(site.start(rescore=True))
    anew, again = scores(site), site.do(site.start(rescore=True))

    assert (first.state, first.counts["labeled"], first.counts["withheld"]) == ("succeeded", TASKS - BLIND, BLIND)
    assert (again.counts["requests"], first.cost, len(llm.history)) == (0, 0, since)
    assert anew == written
    assert scores(site) == written
    assert results(site) == labels
    assert len(written) == TASKS - BLIND
    assert site.per_task() == {1: TASKS - BLIND}
    assert dict(again.stages) == dict(first.stages)


def test_scores_are_made_anew_without_the_llm(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LABELING_METHOD="llm")
    first = with_evidence(site, llm)
    before, labels = scores(site), results(site)
    since, imports = len(llm.history), len(site.tasks.imports)

    run = site.do(site.start(rescore=True))

    doubted = {task for task, score in before.items() if score < 0.8}
    after, told = scores(site), control.describe(site.work, run)
    assert (run.state, run.model_version, run.counts["requests"]) == ("succeeded", first.model_version, 0)
    assert (run.counts["labeled"], run.counts["skipped"], run.counts["withheld"]) == (TASKS - BLIND, 0, BLIND)
    assert (len(llm.history), len(site.tasks.imports)) == (since, imports)
    assert {after[task] for task in after if task not in doubted} != {after[task] for task in doubted}
    assert max(after[task] for task in doubted) < 0.7 < 0.9 < min(after[task] for task in set(after) - doubted)
    assert results(site) == labels
    assert site.tasks.per_task(run.model_version) == {1: TASKS - BLIND}
    assert (told["evidence"], told["cost"]) == (BLIND, 0)
    assert [(each["stage"], each["judged"]) for each in told["stages"]] == [("llm", BLIND)]


def test_what_predict_has_just_answered_is_scored_anew_once_label_studio_has_it(site: Site, llm: FakeLLM) -> None:
    with_evidence(site, llm)
    [task] = site.tasks.add(1)
    asked_about = [{"id": task, "data": {"text": site.tasks.texts[task]}}]
    [item] = site.work.service.predict(REF, site.studio.projects[7]["label_config"], asked_about)

    run = site.start(rescore=True)
    doing = site.doing(run)
    until(lambda: site.work.runs.get(run.id).settled == TASKS)
    site.tasks.predictions.append({"id": 0, "task": task, **item})
    doing.result(60)

    found = site.work.runs.get(run.id)
    assert (found.state, found.counts["labeled"], found.counts["skipped"]) == ("succeeded", TASKS - BLIND + 1, 0)
    assert scores(site)[task] != item["score"]
    assert site.per_task() == {1: TASKS - BLIND + 1}


def test_scores_that_were_made_anew_are_remembered(site: Site, llm: FakeLLM) -> None:
    with_evidence(site, llm)
    kept = site.work.projects.predicted(REF, sorted(scores(site)))

    site.do(site.start(rescore=True))

    again = site.work.projects.predicted(REF, sorted(scores(site)))
    assert {task: each.score for task, each in again.items()} == scores(site)
    assert {task: (each.labels, each.grounds, each.version) for task, each in again.items()} == {
        task: (each.labels, each.grounds, each.version) for task, each in kept.items()
    }


def test_a_control_without_a_label_counts_the_same_when_scores_are_made_anew(site: Site, llm: FakeLLM) -> None:
    site.studio.projects[7]["label_config"] = TWO_CONTROLS
    llm.answer = lambda text, asked: Verdict(
        ("refund", "vip") if number_of(text) % 2 else ("refund",), 0.9 if number_of(text) % 4 else 0.6
    )
    site.tasks.add(TASKS)
    site.do(site.start(validation=BLIND))
    texts = site.tasks.texts
    site.work.annotations.put(
        REF,
        [
            Annotation(
                task,
                task,
                texts[task],
                {"intent": (truth(texts[task]).replace("other", "shipping"),), "tags": ()},
                LabelSource.PERSON_BLIND,
                1.0,
                author=1,
            )
            for task in withheld(site)
        ],
    )
    site.do(site.start(refresh=True))
    written, labels = scores(site), results(site)

    site.do(site.start(rescore=True))

    assert scores(site) == written
    assert results(site) == labels
    assert len(written) == TASKS - BLIND


def test_what_was_withheld_or_abstained_is_left_alone(site: Site, llm: FakeLLM) -> None:
    llm.answer = lambda text, asked: Verdict(() if number_of(text) % 5 == 0 else ("refund",), 0.8)
    tasks = site.tasks.add(TASKS)
    site.do(site.start(validation=BLIND))
    label_blind(site, withheld(site))
    abstained = {task for task in set(tasks) - withheld(site) if task % 5 == 0}
    before = [row for row in site.tasks.predictions if row["task"] in abstained]

    run = site.do(site.start(rescore=True))

    assert run.counts["labeled"] == TASKS - BLIND - len(abstained)
    assert (run.counts["withheld"], run.counts["skipped"]) == (BLIND, len(abstained))
    assert [row for row in site.tasks.predictions if row["task"] in abstained] == before
    assert not withheld(site) & {row["task"] for row in site.tasks.predictions}
    assert site.per_task() == {1: TASKS - BLIND}


def test_tasks_that_are_gone_or_new_are_no_trouble_when_scores_are_made_anew(site: Site, llm: FakeLLM) -> None:
    with_evidence(site, llm)
    gone = min(scores(site))
    site.tasks.delete(gone)
    site.tasks.add(10)

    run = site.do(site.start(rescore=True))

    assert (run.state, run.counts["labeled"], run.counts["failed"]) == ("succeeded", TASKS - BLIND - 1, 0)
    assert (run.counts["withheld"], run.counts["skipped"]) == (BLIND, 10)
    assert site.per_task() == {1: TASKS - BLIND - 1}


@pytest.mark.parametrize(
    "options",
    [{"refresh": True}, {"validation": 5}, {"dry_run": True}, {"mode": "batch"}],
)
def test_scoring_anew_goes_with_nothing_that_asks(site: Site, options: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="rescoring asks nothing"):
        site.start(rescore=True, **options)

    assert site.work.runs.all() == []


def test_scoring_anew_goes_with_no_other_method(site: Site) -> None:
    with pytest.raises(RequestError, match="rescoring asks nothing"):
        control.start(site.work, RunOptions(7, rescore=True), "llm")

    assert (site.work.runs.all(), dict(site.work.projects.state(REF).settings)) == ([], {})


def test_with_too_few_blind_labels_scoring_anew_fails_and_says_what_is_missing(site: Site, llm: FakeLLM) -> None:
    llm.answer = doubtful
    site.tasks.add(TASKS)
    site.do(site.start(validation=BLIND))
    label_blind(site, sorted(withheld(site))[:29])
    before = list(site.tasks.predictions)

    failed = site.do(site.start(rescore=True))
    label_blind(site, sorted(withheld(site))[29:30])
    found = site.do(control.retry(site.work, failed.id))

    assert (failed.state, failed.done) == ("failed", 0)
    assert "29 tasks are labelled blind, and 30 are needed" in failed.message
    assert before == [row for row in before if row in before]
    assert (found.state, found.evidence["tasks"], found.counts["labeled"]) == ("succeeded", 30, TASKS - BLIND)
    assert site.per_task() == {1: TASKS - BLIND}


def test_scores_made_anew_are_given_to_the_predictions_that_are_there(site: Site, llm: FakeLLM) -> None:
    """Somebody may have one open: an annotation whose prediction is gone cannot be submitted."""
    with_evidence(site, llm)
    before, imports = {row["id"]: row | {"score": None} for row in site.tasks.predictions}, len(site.tasks.imports)

    run = site.do(site.start(rescore=True))

    assert (run.state, run.counts["labeled"]) == ("succeeded", TASKS - BLIND)
    assert {row["id"]: row | {"score": None} for row in site.tasks.predictions} == before
    assert scores(site) == {
        task: each.score for task, each in site.work.projects.predicted(REF, sorted(scores(site))).items()
    }
    assert len(site.tasks.imports) == imports


def test_a_prediction_that_is_deleted_as_it_is_scored_is_not_brought_back(site: Site, llm: FakeLLM) -> None:
    with_evidence(site, llm)
    tasks = sorted(scores(site))

    def delete() -> None:
        site.tasks.before_change = lambda: None
        site.tasks.predictions = [row for row in site.tasks.predictions if row["task"] not in tasks[:3]]

    site.tasks.before_change = delete
    run = site.do(site.start(rescore=True))

    assert (run.state, set(scores(site))) == ("succeeded", set(tasks[3:]))
    assert site.per_task() == {1: TASKS - BLIND - 3}


def test_a_run_that_scores_anew_tells_why_it_skips_what_it_cannot_score(site: Site, llm: FakeLLM) -> None:
    with_evidence(site, llm)
    first, *others = sorted(scores(site))
    version, labels = site.studio.projects[7]["model_version"], {"intent": ("refund",)}
    site.work.projects.keep_predictions(REF, "a later one", {first: Prediction(labels, 0.5, "a later one")})
    before = scores(site)[first]

    run = site.do(site.start(rescore=True))

    told = [each["why"] for each in site.work.runs.history(run.id) if each["what"] == "skipped"]
    assert (run.counts["labeled"], run.counts["skipped"], run.model_version) == (len(others), 1, version)
    assert ["run --refresh" in why for why in told] == [True]
    assert scores(site)[first] == before


def test_who_takes_over_from_a_writer_that_scores_anew_goes_on_with_it(site: Site, llm: FakeLLM) -> None:
    with_evidence(site, llm)
    run = site.start(rescore=True)
    ledger = site.work.runs.ledger(run.id)

    def take_over() -> None:
        site.tasks.before_change = lambda: None
        ledger.free(holder(os.getpid()))
        taken = ledger.take(WRITE)
        assert taken
        ledger.give_back([taken])

    site.tasks.before_change = take_over
    execute(site.work, run.id)
    found = site.work.runs.get(run.id)
    found = found if found.finished_at else site.do(run)

    assert (found.state, found.counts["labeled"], found.counts["withheld"]) == ("succeeded", TASKS - BLIND, BLIND)
    assert site.per_task() == {1: TASKS - BLIND}
    assert scores(site) == {
        task: each.score for task, each in site.work.projects.predicted(REF, sorted(scores(site))).items()
    }


def sealed_tasks(site: Site) -> set[int]:
    keys = [key for key in site.work.redis.scan_iter() if ":sealed:" in key]
    return {int(task) for key in keys for task in site.work.redis.hkeys(key)}


def test_of_a_task_that_is_forgotten_nothing_stays_sealed(site: Site) -> None:
    site.tasks.add(20)
    site.do(site.start(validation=5))
    drawn = withheld(site)
    first, *_ = drawn

    site.work.projects.forget_tasks(REF, [first])

    assert sealed_tasks(site) == drawn - {first}
    assert withheld(site) == drawn - {first}


def test_of_a_project_that_is_forgotten_nothing_stays_sealed(site: Site) -> None:
    site.tasks.add(20)
    site.do(site.start(validation=5))
    before = sealed_tasks(site)

    control.forget_project(site.work, 7)

    assert len(before) == 5
    assert sealed_tasks(site) == set()
    assert [key for key in site.work.redis.scan_iter() if ":7." in key and ":answers:" not in key] == []
