"""What is learned from evidence, and how each method does on it."""

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prelabel.config import Method
from prelabel.quality.calibrator import MIN_EVIDENCE, Calibrator, cross_fitted
from prelabel.quality.deciding import SURE, UNSURE, decide
from prelabel.quality.fitting import ControlEvidence, EvidenceCase, fit_scoring
from prelabel.quality.fusion import Ensemble
from prelabel.quality.heard import Heard, Precedent
from prelabel.quality.intervals import Tally
from prelabel.quality.metrics import expected_calibration_error
from prelabel.quality.scoring import Learned, Scoring, together
from tests.unit.hearing import (
    LABELS,
    MULTIPLE,
    SINGLE,
    as_evidence,
    case,
    evidence,
    fitted,
    question,
    rule,
    said,
    voting,
    weak,
)

RULE = rule("x", "a")
CASES = evidence(300, with_escalation=True)


def calibrators(scoring: Scoring) -> set[str]:
    return set(scoring.of("q").calibration.calibrators)


def by_rules(right: int, wrong: int) -> list[EvidenceCase]:
    """So many tasks for which the rule fires."""
    return [case(number, Heard(rules=voting(RULE)), "a" if number < right else "b") for number in range(right + wrong)]


def test_the_weak_model_and_the_llm_learn_from_all_there_is() -> None:
    for method in ("llm", "weak_model", "rules", "auto"):
        found = fit_scoring([SINGLE], CASES, method).of("q").calibration.calibrators

        assert found["weak_model"] == Calibrator.fit(as_evidence(CASES, "weak_model"))
        assert found["llm"] == Calibrator.fit(as_evidence(CASES, "llm"))


def test_the_stronger_model_learns_from_those_of_which_the_llm_is_unsure() -> None:
    sure = [score >= SURE for score in cross_fitted(as_evidence(CASES, "weak_model"))]
    unsure = [score < UNSURE for score in cross_fitted(as_evidence(CASES, "llm"))]
    there = [each for each, done, asked in zip(CASES, sure, unsure, strict=True) if asked and not done]

    scoring = fit_scoring([SINGLE], CASES, "auto")

    found = scoring.of("q")
    assert found.calibration.calibrators["escalation"].evidence == len(there)
    assert {stage: tally.judged for stage, tally in found.stages.items()} == {
        "weak_model": sum(sure),
        "llm": len(CASES) - sum(sure) - len(there),
        "escalation": len(there),
    }
    assert "escalation" not in calibrators(fit_scoring([SINGLE], CASES, "llm"))


def test_stages_count_what_they_would_have_the_last_word_on() -> None:
    right = sum(item.right for item in as_evidence(CASES, "llm"))

    scoring = fit_scoring([SINGLE], CASES, "llm", agreement=0.9)

    assert (scoring.evidence, scoring.agreement) == (300, 0.9)
    assert scoring.of("q").stages == {"llm": Tally(right, 300)}
    assert scoring.of("q").ensemble == Ensemble()


def test_where_no_stronger_model_was_heard_the_llms_word_is_the_last() -> None:
    scoring = fit_scoring([SINGLE], evidence(300), "auto")

    assert set(scoring.of("q").stages) == {"weak_model", "llm"}


def test_without_an_llm_the_weak_models_word_is() -> None:
    cases = [replace(each, heard={"q": replace(each.heard["q"], llm=None)}) for each in evidence(60)]

    scoring = fit_scoring([SINGLE], cases, "auto")

    assert {stage: tally.judged for stage, tally in scoring.of("q").stages.items()} == {"weak_model": 60}
    assert calibrators(scoring) == {"weak_model"}


def test_the_ensemble_is_fitted_where_it_is_the_method() -> None:
    scoring = fit_scoring([SINGLE], CASES, "ensemble")

    learned = scoring.of("q")
    assert set(learned.ensemble.weights) == {"weak_model", "neighbors", "llm"}
    assert calibrators(scoring) == {"weak_model", "llm", "ensemble"}
    assert {stage: tally.judged for stage, tally in learned.stages.items()} == {"ensemble": 300}


def test_with_too_little_evidence_there_are_counts_only() -> None:
    few, enough = CASES[: MIN_EVIDENCE - 1], CASES[:MIN_EVIDENCE]

    for method in get_args(Method):
        assert calibrators(fit_scoring([SINGLE], few, method)) == set()
    assert fit_scoring([SINGLE], few, "ensemble").of("q").ensemble == Ensemble()
    assert fit_scoring([SINGLE], few, "llm").of("q").stages["llm"].judged == len(few)
    assert calibrators(fit_scoring([SINGLE], enough, "llm")) == {"weak_model", "llm"}


def test_rules_are_counted_by_their_fingerprints_and_proven_ones_settle() -> None:
    scoring = fit_scoring([SINGLE], by_rules(60, 1), "auto")

    learned = scoring.of("q")
    assert learned.rules.tallies == {fitted(RULE).rule.fingerprint: Tally(60, 61)}
    assert learned.stages == {"rules": Tally(60, 61)}
    decision = decide(SINGLE, Heard(rules=voting(RULE)), scoring, "auto").decision
    assert decision is not None
    assert decision.score.is_calibrated
    assert decision.score.value == pytest.approx(61 / 63, abs=0.02)


def test_rules_that_prove_nothing_settle_nothing() -> None:
    scoring = fit_scoring([SINGLE], by_rules(30, 31), "auto")

    assert scoring.of("q").stages == {}
    assert decide(SINGLE, Heard(rules=voting(RULE)), scoring, "auto").decision is None


def test_of_a_multiple_choice_a_rule_that_names_a_part_leaves_the_set_to_the_llm() -> None:
    heard = Heard(rules=voting(RULE, asked=MULTIPLE), llm=said("a", "b", stated=0.9))

    scoring = fit_scoring([MULTIPLE], [case(number, heard, "a", "b") for number in range(60)], "auto")

    assert scoring.of("q").stages == {"llm": Tally(60, 60)}
    decision = decide(MULTIPLE, heard, Scoring.from_json(scoring.to_json()), "auto").decision
    assert decision is not None
    assert decision.labels == ("a", "b")


@pytest.mark.parametrize("method", ["llm", "ensemble", "auto"])
def test_what_was_labelled_before_there_were_reviews_is_scored_anew_by_what_it_is_worth_without(method: Method) -> None:
    tickets = [(Heard(llm=each.heard["q"].llm), each.labels["q"]) for each in evidence(2000, seed=1)]
    decided = [(decide(SINGLE, heard, Scoring(), method).decision, chosen) for heard, chosen in tickets]

    scoring = fit_scoring([SINGLE], CASES, method)

    scores = [scoring.score("q", decision.grounds) for decision, _ in decided if decision]
    right = [decision.labels == chosen for decision, chosen in decided if decision]
    assert all(score.is_calibrated for score in scores)
    assert expected_calibration_error([score.value for score in scores], right) < 0.04


def test_a_task_does_not_speak_for_itself() -> None:
    """Each rule fires once: what it came to then would tell right from wrong without fail."""
    cases = [
        case(number, Heard(rules=voting(rule(f"x{number}", "a")), llm=said("a", stated=0.9)), "ab"[number % 2])
        for number in range(60)
    ]

    found = fit_scoring([SINGLE], cases, "llm").of("q").calibration.calibrators["llm"]

    assert "rules" not in found.terms


def test_a_task_that_tells_nothing_of_the_question_is_no_evidence_of_it() -> None:
    gone, unanswered = case(1, Heard(llm=said("a")), "gone"), case(2, Heard(llm=said("a")))
    elsewhere, unheard = EvidenceCase(3, {"q": Heard()}, {"p": ("a",)}), EvidenceCase(4, {}, {"q": ("a",)})

    scoring = fit_scoring([SINGLE, question("p")], [gone, unanswered, elsewhere, unheard], "llm")

    assert scoring == Scoring(0, {"q": Learned(), "p": Learned()})


def test_of_a_multiple_choice_only_the_exact_set_is_right() -> None:
    heard = Heard(llm=said("a", "b", stated=0.9))
    cases = [case(number, heard, *chosen) for number, chosen in enumerate([("b", "a"), ("a",), ("a", "b", "c"), ()])]

    assert fit_scoring([MULTIPLE], cases, "llm").of("q").stages == {"llm": Tally(1, 4)}


def test_each_task_is_scored_by_calibrators_that_have_not_seen_it() -> None:
    seen = as_evidence(CASES, "llm")

    trial = ControlEvidence(SINGLE, CASES).trial("llm")

    assert [each.score for each in trial.judged] == cross_fitted(seen)
    assert [each.right for each in trial.judged] == [item.right for item in seen]


def test_three_controls_fit_into_a_few_kilobytes() -> None:
    rules = [rule(f"x{number}", "a") for number in range(20)]
    everything = [replace(each.heard["q"], rules=voting(*rules)) for each in CASES[:60]]
    cases = [
        EvidenceCase(each.task_id, dict.fromkeys("pqr", heard), dict.fromkeys("pqr", each.labels["q"]))
        for heard, each in zip(everything, CASES[:60], strict=True)
    ]

    for method in ("auto", "ensemble"):
        scoring = fit_scoring([question(name) for name in "pqr"], cases, method)
        assert len(scoring.to_json()) < 9000
        assert Scoring.from_json(scoring.to_json()) == scoring


SHARES = st.floats(0, 1)
SOME_LABELS = st.lists(st.sampled_from([*LABELS, "gone"]), max_size=2, unique=True).map(tuple)
SOME_SIGNALS = st.dictionaries(st.sampled_from(["logprob", "stated"]), SHARES)
SAID = st.none() | st.builds(lambda labels, signals: said(*labels, **signals), SOME_LABELS, SOME_SIGNALS)
HEARD = st.builds(
    Heard,
    reviewed=st.none() | st.builds(Precedent, SOME_LABELS, st.integers(1, 3)),
    rules=st.none() | st.sampled_from([voting(RULE), voting(rule("y", "b")), voting(RULE, rule("y", "b"))]),
    weak=st.none() | st.builds(lambda a, b: weak(a=a, b=b), SHARES, SHARES),
    near=st.lists(st.tuples(SOME_LABELS, SHARES), max_size=2),
    llm=SAID,
    escalation=SAID,
)


@settings(max_examples=25, deadline=None)
@given(
    st.booleans(),
    st.lists(st.tuples(HEARD, SOME_LABELS), max_size=40),
    st.booleans(),
    st.sampled_from(get_args(Method)),
)
def test_whatever_the_evidence_it_learns_the_same_from_it_and_scores_by_it(
    multiple: bool, told: list[tuple[Heard, tuple[str, ...]]], repeat: bool, method: Method
) -> None:
    asked = question(multiple=multiple)
    some = told[:1] * 35 if repeat else told
    cases = [case(number, heard, *labels) for number, (heard, labels) in enumerate(some)]

    scoring = fit_scoring([asked], cases, method)

    assert fit_scoring([asked], cases, method) == scoring
    assert Scoring.from_json(scoring.to_json()) == scoring
    for heard, _ in some[:5]:
        decision = decide(asked, heard, scoring, method).decision
        assert decision is None or 0.0 <= decision.score.value <= 1.0
        assert decision is None or scoring.rescored(["q"], {"q": decision.grounds}) == together([decision.score])
