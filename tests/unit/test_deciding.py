"""One decision of all that is heard, by each of the methods."""

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prelabel.config import Method
from prelabel.core.signals import SIGNALS, STAGES, Grounds, rounded
from prelabel.core.types import Choices
from prelabel.quality.calibration import Calibration, Score
from prelabel.quality.calibrator import Calibrator, Term
from prelabel.quality.deciding import SURE, UNSURE, Decision, Verdict, decide
from prelabel.quality.fusion import Ensemble, Vote
from prelabel.quality.heard import Heard, Precedent, ballot
from prelabel.quality.intervals import Tally
from prelabel.quality.rule_record import RuleRecord
from prelabel.quality.scoring import Learned, Scoring, together
from prelabel.quality.weak_model import Guess, WeakModel
from tests.unit.hearing import LABELS, MULTIPLE, SINGLE, question, rule, said, voting, weak

PROVEN, UNPROVEN, OPPOSED = rule("proven", "a"), rule("unproven", "b", priority=1), rule("opposed", "b")
RECORD = RuleRecord.of({PROVEN.fingerprint: Tally(60, 60), UNPROVEN.fingerprint: Tally(8, 8)})
NOTHING = Heard()
BEFORE = Scoring()


def taken_at_their_word(*stages: str, rules: RuleRecord | None = None) -> Scoring:
    """A scoring by which the weak model's signal, the LLM's and the stronger one's are the probability."""
    terms = {name: Term(1.0, 0.0) for name in ("logprob", "stated")}
    of_stage = {"weak_model": {"weak": Term(1.0, 0.0)}, "llm": terms, "escalation": terms}
    calibrators = {stage: Calibrator(100, 0.0, of_stage[stage]) for stage in stages}
    return Scoring(100, {"q": Learned(Calibration(calibrators), rules=rules or RuleRecord())})


AFTER = taken_at_their_word("weak_model", "llm", "escalation")


def settled(verdict: Verdict) -> tuple[str, tuple[str, ...]]:
    """By whom, and how."""
    assert verdict.decision is not None
    return verdict.decision.grounds.stage, verdict.decision.labels


@pytest.mark.parametrize(
    ("method", "heard", "stage", "labels", "signals"),
    [
        ("llm", Heard(llm=said("b", stated=0.6)), "llm", ("b",), {"stated": 0.6}),
        ("weak_model", Heard(weak=weak(a=0.3, b=0.7)), "weak_model", ("b",), {"weak": 0.7}),
        ("rules", Heard(rules=voting(UNPROVEN, PROVEN)), "rules", ("b",), {"rules": 9 / 10}),
    ],
)
def test_a_method_of_one_stage_takes_its_word(
    method: Method, heard: Heard, stage: str, labels: tuple[str, ...], signals: Mapping[str, float]
) -> None:
    scoring = Scoring(0, {"q": Learned(rules=RECORD)})

    verdict = decide(SINGLE, heard, scoring, method)

    grounds = Grounds(stage, rounded(signals))
    [signal] = grounds.signals.values()
    assert verdict == Verdict(Decision(labels, grounds, Score(signal, is_calibrated=False)))


@pytest.mark.parametrize(
    ("method", "heard"),
    [
        ("llm", Heard(llm=said(stated=0.6), weak=weak(a=0.99))),
        ("weak_model", Heard(llm=said("a", stated=0.6))),
        ("rules", Heard(rules=voting(PROVEN, OPPOSED), llm=said("a"))),
        ("rules", NOTHING),
        ("ensemble", Heard(llm=said())),
    ],
)
def test_where_it_abstains_it_is_a_persons(method: Method, heard: Heard) -> None:
    assert decide(SINGLE, heard, AFTER, method) == Verdict(None)


def test_of_a_multiple_choice_no_label_may_be_the_answer() -> None:
    heard = Heard(llm=said(stated=0.6), weak=Guess((), 0.5, {"a": 0.3, "b": 0.2, "c": 0.1}))

    assert settled(decide(MULTIPLE, heard, BEFORE, "llm")) == ("llm", ())
    assert settled(decide(MULTIPLE, heard, BEFORE, "weak_model")) == ("weak_model", ())
    assert decide(question(multiple=True, required=True), heard, BEFORE, "llm") == Verdict(None)


def test_the_ensemble_fuses_all_and_waits_for_the_llm() -> None:
    without = Heard(weak=weak(a=0.6, b=0.3, c=0.1), near=((("a",), 0.5),))
    heard = replace(without, llm=said("b", logprob=0.99))
    fused = Ensemble().fuse(SINGLE, ballot(SINGLE, heard, RuleRecord()))
    assert fused is not None

    early, verdict = decide(SINGLE, without, BEFORE, "ensemble"), decide(SINGLE, heard, BEFORE, "ensemble")

    signals = rounded(fused.signals)
    decision = Decision(("b",), Grounds("ensemble", signals), Score(signals["pool"], is_calibrated=False))
    assert verdict == Verdict(decision)
    assert (early.wants, settled(early)) == ("llm", ("ensemble", ("a",)))
    assert decide(SINGLE, NOTHING, BEFORE, "ensemble") == Verdict(None, wants="llm")


def test_a_label_that_no_reviewer_has_chosen_yet_can_win_by_the_llms_word() -> None:
    texts = ["refund me", "my money back", "where is my parcel", "the parcel is late"]
    model = WeakModel.fit(SINGLE, texts * 6, [["a"], ["a"], ["b"], ["b"]] * 6)
    assert model is not None
    [guess] = model.guess(["my password is lost"])

    verdict = decide(SINGLE, Heard(weak=guess, llm=said("c", logprob=0.97)), BEFORE, "ensemble")

    assert settled(verdict) == ("ensemble", ("c",))


def test_what_people_said_of_the_same_text_stands() -> None:
    heard = Heard(reviewed=Precedent(("c",), 2), rules=voting(PROVEN), weak=weak(a=0.999), llm=said("b", logprob=0.99))

    verdict = decide(SINGLE, heard, taken_at_their_word("weak_model", rules=RECORD), "auto")

    assert settled(verdict) == ("reviewed", ("c",))
    assert verdict.wants is None


def test_then_that_of_proven_rules_as_if_there_were_no_others() -> None:
    heard = Heard(rules=voting(UNPROVEN, PROVEN), weak=weak(c=0.999))
    unproven = replace(heard, rules=voting(UNPROVEN))
    scoring = taken_at_their_word("weak_model", rules=RECORD)

    assert settled(decide(SINGLE, heard, scoring, "auto")) == ("rules", ("a",))
    assert settled(decide(SINGLE, unproven, scoring, "auto")) == ("weak_model", ("c",))


def test_then_that_of_the_weak_model_where_it_is_sure() -> None:
    sure, unsure = Heard(weak=weak(a=0.97, b=0.03)), Heard(weak=weak(a=0.9, b=0.1))

    assert decide(SINGLE, sure, AFTER, "auto").wants is None
    assert settled(decide(SINGLE, sure, AFTER, "auto")) == ("weak_model", ("a",))
    assert decide(SINGLE, unsure, AFTER, "auto").wants == "llm"


def test_a_weak_model_that_is_not_calibrated_is_never_sure() -> None:
    assert decide(SINGLE, Heard(weak=weak(a=0.9999)), BEFORE, "auto").wants == "llm"


def test_then_that_of_the_llm_where_it_is_not_unsure() -> None:
    heard = Heard(weak=weak(a=0.9, b=0.1), llm=said("b", logprob=0.85))
    uncalibrated = decide(SINGLE, heard, BEFORE, "auto")

    assert decide(SINGLE, heard, AFTER, "auto").wants is None
    assert settled(decide(SINGLE, heard, AFTER, "auto")) == ("llm", ("b",))
    assert (uncalibrated.wants, settled(uncalibrated)) == (None, ("llm", ("b",)))


@pytest.mark.parametrize("llm", [said("b", logprob=0.6), said()])
@pytest.mark.parametrize("scoring", [BEFORE, AFTER])
def test_a_stronger_model_is_wanted_where_the_llm_is_unsure_or_abstains(llm: Vote, scoring: Scoring) -> None:
    verdict = decide(SINGLE, Heard(weak=weak(a=0.9, b=0.1), llm=llm), scoring, "auto")

    assert verdict.wants == "escalation"
    assert verdict.decision is None if not llm.labels else settled(verdict) == ("llm", ("b",))


def test_the_stronger_models_word_is_the_last_however_unsure() -> None:
    heard = Heard(weak=weak(a=0.9, b=0.1), llm=said("b", logprob=0.6), escalation=said("c", stated=0.3))

    verdict = decide(SINGLE, heard, AFTER, "auto")
    abstained = decide(SINGLE, replace(heard, escalation=said()), AFTER, "auto")

    assert (verdict.wants, settled(verdict)) == (None, ("escalation", ("c",)))
    assert abstained == Verdict(None)


def test_where_there_is_no_llm_the_weak_model_has_the_last_word() -> None:
    verdict = decide(SINGLE, Heard(weak=weak(a=0.5, b=0.3, c=0.2)), AFTER, "auto")

    assert settled(verdict) == ("weak_model", ("a",))
    assert decide(SINGLE, NOTHING, AFTER, "auto") == Verdict(None, wants="llm")


SHARES = st.floats(0, 1) | st.sampled_from([float("nan"), float("inf"), -1.0, 2.0])
SOME_LABELS = st.lists(st.sampled_from([*LABELS, "gone"]), max_size=3, unique=True).map(tuple)
SIGNALS_SAID = st.dictionaries(st.sampled_from(["logprob", "stated", "agreement"]), SHARES)
PROBABILITIES = st.dictionaries(st.sampled_from([*LABELS, "gone"]), SHARES)
SAID = st.none() | st.builds(Vote, SOME_LABELS, SIGNALS_SAID, PROBABILITIES)
FIRING = st.lists(st.sampled_from([PROVEN, UNPROVEN, OPPOSED]), min_size=1, max_size=3, unique=True)
HEARD = st.builds(
    Heard,
    reviewed=st.none() | st.builds(Precedent, SOME_LABELS, st.integers(1, 9)),
    rules=st.none() | FIRING.map(lambda rules: voting(*rules)),
    weak=st.none() | st.builds(Guess, SOME_LABELS, st.floats(0, 1), PROBABILITIES),
    near=st.lists(st.tuples(SOME_LABELS, st.floats(0, 1)), max_size=4),
    llm=SAID,
    escalation=SAID,
)
TERMS = st.dictionaries(st.sampled_from(SIGNALS), st.builds(Term, st.floats(0, 100), st.floats(-100, 100)))
CALIBRATORS = st.builds(Calibrator, st.just(30), st.floats(-100, 100), TERMS)
SCORINGS = st.builds(
    Learned,
    st.dictionaries(st.sampled_from(sorted(STAGES)), CALIBRATORS).map(Calibration),
    st.just(Ensemble()),
    st.sampled_from([RuleRecord(), RECORD]),
).map(lambda learned: Scoring(30, {"q": learned}))
QUESTIONS = st.builds(
    lambda multiple, required: question(multiple=multiple, required=required), st.booleans(), st.booleans()
)


@settings(max_examples=400, deadline=None)
@given(QUESTIONS, HEARD, SCORINGS, st.sampled_from(get_args(Method)))
def test_whatever_is_heard_labels_are_the_questions_and_the_score_is_kept_to(
    asked: Choices, heard: Heard, scoring: Scoring, method: Method
) -> None:
    verdict = decide(asked, heard, scoring, method)

    assert decide(asked, heard, scoring, method) == verdict
    if decision := verdict.decision:
        assert set(decision.labels) <= set(LABELS)
        assert asked.multiple or len(decision.labels) == 1
        assert decision.labels or not asked.required
        assert 0.0 <= decision.score.value <= 1.0
        assert scoring.rescored({"q": decision.labels}, {"q": decision.grounds}) == together([decision.score])


@settings(max_examples=200, deadline=None)
@given(QUESTIONS, HEARD, SCORINGS, st.sampled_from(get_args(Method)))
def test_what_wants_nobody_stays_whoever_is_heard_after_it(
    asked: Choices, heard: Heard, scoring: Scoring, method: Method
) -> None:
    alone, by_llm = replace(heard, llm=None, escalation=None), replace(heard, escalation=None)

    for before in (alone, by_llm):
        verdict = decide(asked, before, scoring, method)
        assert verdict.wants or decide(asked, heard, scoring, method) == verdict


def test_it_is_sure_later_than_it_is_unsure() -> None:
    assert SURE > UNSURE
