"""Batch mode by methods: what need not be asked goes into no batch, and answers are judged as live ones are."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from prelabel.core.types import Annotation, LabelSource
from prelabel.guidance.rules import RuleSource
from prelabel.project import Project
from prelabel.quality.calibration import Calibration
from prelabel.quality.calibrator import Calibrator, Term
from prelabel.quality.intervals import Tally
from prelabel.quality.rule_record import RuleRecord
from prelabel.quality.scoring import Learned, Scoring
from prelabel.runs import control
from prelabel.store.run import Run, RunOptions
from prelabel.studio.client import LISTED_AGAIN
from tests.fakes.llm_policy import Verdict
from tests.fakes.llm_request import Asked
from tests.fakes.llm_server import FakeLLM
from tests.integration.batches.conftest import BatchSite, Open, assert_nothing_left
from tests.integration.project_seven import REF

RULE = "money back: {control: intent, label: refund, keywords: money back}"


def opened(site: BatchSite) -> Project:
    return site.work.service.open(REF, site.studio.projects[7]["label_config"])


def scored(site: BatchSite) -> dict[int, float]:
    return {row["task"]: row["score"] for row in site.studio.tasks.predictions}


def stages(site: BatchSite) -> dict[int, str]:
    """By task, of those that have a label."""
    found = site.work.projects.predicted(REF, sorted(site.studio.tasks.texts))
    return {task: each.grounds["intent"].stage for task, each in found.items() if each.grounds}


def review(site: BatchSite, texts: Mapping[str, str], source: LabelSource = LabelSource.PERSON, first: int = 1) -> None:
    site.work.annotations.put(
        REF,
        [
            Annotation(number, number, text, {"intent": (label,)}, source, 1.0, author=1)
            for number, (text, label) in enumerate(texts.items(), 100_000 + first)
        ],
    )


def freeze(site: BatchSite, learned: Learned) -> None:
    scoring = Scoring(100, {"intent": learned})
    site.work.projects.freeze_scoring(opened(site).state, opened(site).version, scoring.to_json())


def by_number(text: str, _: Asked) -> Verdict:
    number = int(text.rsplit(maxsplit=1)[-1])
    return Verdict(("refund",) if number % 3 else ("shipping",), 0.5 + number % 40 / 100)


def test_early_stages_settle_their_tickets_without_a_batch(open_site: Open, llm: FakeLLM, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULE)
    site = open_site(RULES_FILE=str(tmp_path / "rules.yaml"))
    tasks = site.studio.tasks
    reviewed, ruled, rest = (tasks.add(count, text) for count, text in ((1, "card"), (30, "money back"), (60, "hello")))
    review(site, {tasks.texts[reviewed[0]]: "other"})
    found = RuleSource().rules(opened(site).settings, opened(site).config.questions)
    freeze(site, Learned(rules=RuleRecord.of({each.rule.fingerprint: Tally(60, 60) for each in found})))

    run = site.do_all(site.start())

    assert (run.state, run.counts["labeled"]) == ("succeeded", 91)
    assert set(site.asked()) == {tasks.texts[task] for task in rest}
    assert stages(site) == {
        **dict.fromkeys(reviewed, "reviewed"),
        **dict.fromkeys(ruled, "rules"),
        **dict.fromkeys(rest, "llm"),
    }
    assert dict(run.stages) == {"reviewed": 1, "rules": 30, "llm": 60}
    assert site.per_task(run) == {1: 91}
    assert_nothing_left(site)


def test_what_is_tried_out_is_paid_for_once_though_label_studio_is_away_then(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4")
    site.studio.tasks.add(30)
    listed, left = site.studio.tasks.listed, [1 + LISTED_AGAIN]

    def away(query: Mapping[str, list[str]]) -> tuple[int, Any]:
        if json.loads(query["query"][0]).get("selectedItems") and left[0]:
            left[0] -= 1
            return 502, "<h1>502 Bad Gateway</h1>"
        return listed(query)

    site.studio.tasks.listed = away  # type: ignore[method-assign]
    run = site.do_all(site.start())

    assert (run.state, run.counts["labeled"], left) == ("succeeded", 30, [0])
    assert run.counts["requests"] == len(llm.history)
    assert set(site.asked().values()) == {1}
    assert dict(run.stages) == {"llm": 30}


@pytest.mark.parametrize("method", ["rules", "weak_model"])
def test_a_method_without_an_llm_has_nothing_to_send(
    open_site: Open, llm: FakeLLM, tmp_path: Path, method: str
) -> None:
    (tmp_path / "rules.yaml").write_text(RULE)
    site = open_site(LABELING_METHOD=method, RULES_FILE=str(tmp_path / "rules.yaml"))
    site.studio.tasks.add(30, "money back")
    review(site, {f"money back {number}": ("refund", "other")[number % 2] for number in range(-60, 0)})

    run = site.do_all(site.start())

    assert (run.state, run.counts["labeled"], run.counts["requests"]) == ("succeeded", 30, 0)
    assert dict(run.stages) == {method: 30}
    assert (llm.history, llm.batches.batches) == ([], {})


@pytest.mark.parametrize("method", ["auto", "llm", "ensemble"])
def test_the_same_answers_get_the_same_scores_as_live(open_site: Open, llm: FakeLLM, method: str) -> None:
    site = open_site(LABELING_METHOD=method, ANSWER_CACHE_DAYS="0")
    llm.answer = by_number
    site.studio.tasks.add(60)
    review(site, {f"where is number {number}": ("refund", "shipping")[number % 2] for number in range(-40, 0)})
    learned = Learned(Calibration({method_stage(method): Calibrator(100, -0.5, {"logprob": Term(0.8, 0.0)})}))
    freeze(site, learned)
    version = opened(site).version

    batched = site.do_all(site.start())
    in_batches, by_stage = scored(site), stages(site)
    site.studio.tasks.predictions.clear()
    live = control.start(site.work, RunOptions(7))
    site.do(live)

    assert (batched.state, batched.model_version) == ("succeeded", version)
    assert (batched.counts["labeled"], site.now(live).counts["labeled"]) == (60, 60)
    assert scored(site) == in_batches
    assert stages(site) == by_stage
    assert dict(site.now(live).stages) == dict(batched.stages)


def method_stage(method: str) -> str:
    return "ensemble" if method == "ensemble" else "llm"


def test_the_stronger_model_is_not_asked(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(ESCALATION_MODEL="gpt-4o")
    llm.answer = lambda text, asked: Verdict(("refund",), 0.3)
    site.studio.tasks.add(40)

    run = site.do_all(site.start())

    assert (run.state, run.counts["labeled"], dict(run.stages)) == ("succeeded", 40, {"llm": 40})
    assert {each.model for each in llm.history} == {"gpt-4o-mini"}


def test_what_batches_leave_goes_through_all_stages_live(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(ESCALATION_MODEL="gpt-4o", ANSWER_CACHE_DAYS="0")
    llm.answer = lambda text, asked: Verdict(("refund",), 0.3)
    llm.batches.expires, llm.batches.share_done = True, 0.5
    site.studio.tasks.add(210)

    run = site.do_all(site.start())

    told = dict(run.stages)
    assert (run.state, run.counts["labeled"], sum(told.values())) == ("succeeded", 210, 210)
    assert set(told) == {"llm", "escalation"}
    assert told["escalation"] == len({text for each in llm.history if each.model == "gpt-4o" for text in each.texts})
    assert_nothing_left(site)


def test_a_text_that_is_reviewed_while_its_batch_is_under_way_is_what_people_said(
    site: BatchSite, llm: FakeLLM
) -> None:
    [*_, last] = site.studio.tasks.add(40)
    run = site.start()
    site.do(run)
    review(site, {site.studio.tasks.texts[last]: "other"})

    found = site.do_all(run)

    assert (found.state, found.counts["labeled"]) == ("succeeded", 40)
    assert stages(site)[last] == "reviewed"
    assert dict(found.stages) == {"llm": 39, "reviewed": 1}


@pytest.mark.parametrize("is_tried_out", [True, False])
def test_live_requests_are_answered_while_answers_of_a_batch_are_judged(
    site: BatchSite, llm: FakeLLM, is_tried_out: bool
) -> None:
    tasks = site.studio.tasks
    tasks.add(40)
    run = site.start()
    if not is_tried_out:
        site.do(run)
    config, listed = site.studio.projects[7]["label_config"], tasks.listed
    told: list[list[dict[str, Any]]] = []

    def slow(query: Mapping[str, list[str]]) -> tuple[int, Any]:
        """Before it is told what the tasks of a batch are, somebody wants a prediction."""
        if json.loads(query["query"][0]).get("selectedItems") and not told:
            told.append(site.work.service.predict(REF, config, [{"id": 1_000_000, "data": {"text": "refund me"}}]))
        return listed(query)

    tasks.listed = slow  # type: ignore[method-assign]
    found = site.do_all(run)

    assert (found.state, found.counts["labeled"]) == ("succeeded", 40)
    assert [bool(item["result"]) for [item] in told] == [True]


def test_a_ticket_that_is_gone_when_its_batch_ends_is_skipped(site: BatchSite, llm: FakeLLM) -> None:
    [*_, last] = site.studio.tasks.add(40)
    run = site.start()
    site.do(run)
    site.studio.tasks.delete(last)

    found = site.do_all(run)

    assert (found.state, found.counts["labeled"], found.counts["skipped"]) == ("succeeded", 39, 1)
    assert site.per_task(found) == {1: 39}


def test_withheld_tasks_are_asked_about_live_in_secret_and_stand_in_no_batch(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LLM_PRICE_INPUT="2", LLM_PRICE_OUTPUT="10")
    site.studio.tasks.add(100)

    run = site.do_all(site.start(validation=20))

    withheld = {site.studio.tasks.texts[task] for task in site.work.projects.all_withheld(REF)}
    live = {text for each in site.live() for text in each.texts}
    assert (run.state, run.counts["withheld"], run.counts["labeled"]) == ("succeeded", 20, 80)
    assert withheld <= live
    assert not withheld & set(site.batched())
    assert set(site.asked().values()) == {1}
    assert run.counts["requests"] == len(llm.history)
    assert site.work.evidence.lacking(opened(site), site.work.projects.all_withheld(REF)) == set()


def test_a_run_in_batches_is_scored_by_what_was_labelled_blind(site: BatchSite, llm: FakeLLM) -> None:
    llm.answer = by_number
    site.studio.tasks.add(120)
    site.do_all(site.start(validation=60))
    label_blind(site)

    run: Run = site.do_all(site.start(refresh=True))
    written = scored(site)
    anew = site.do(control.start(site.work, RunOptions(7, rescore=True)))

    assert (run.state, run.evidence["tasks"], anew.state) == ("succeeded", 60, "succeeded")
    versions = {row["model_version"] for row in site.studio.tasks.predictions}
    assert run.model_version in versions
    assert scored(site) == written
    assert site.per_task(run) == {1: 60}


def label_blind(site: BatchSite) -> None:
    texts = site.studio.tasks.texts
    drawn = sorted(site.work.projects.all_withheld(REF))
    site.work.annotations.put(
        REF,
        [
            Annotation(task, task, texts[task], {"intent": (label,)}, LabelSource.PERSON_BLIND, 1.0, author=1)
            for task, label in zip(drawn, ["refund", "refund", "shipping"] * 20, strict=True)
        ],
    )
