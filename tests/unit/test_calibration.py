"""Scores that keep their word: calibrators, what they are before evidence, and the JSON they are frozen in."""

import json
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prelabel.core.signals import SIGNALS, STAGES, Evidence, Signals, best_single
from prelabel.quality.calibration import Calibration, Quality, Score
from prelabel.quality.calibrator import (
    CURVE_EVIDENCE,
    MIN_EVIDENCE,
    Calibrator,
    Term,
    UnknownCalibration,
    cross_fitted,
    fitted,
    folds,
)
from prelabel.quality.metrics import auroc, coverage_at, expected_calibration_error, noise_floor
from prelabel.quality.monotone import Curve

ANYTHING = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 0.5, float("nan"), float("inf"), -3.0, 7.0])
SOME_SIGNALS = st.dictionaries(st.sampled_from(SIGNALS), ANYTHING, max_size=4)
EVIDENCE = st.lists(st.builds(Evidence, SOME_SIGNALS, st.booleans()), max_size=60)


def drawn(count: int, seed: int = 0, **told: str) -> list[Evidence]:
    """Labels that are right with a probability drawn evenly.

    :param told: by signal ``truly``, ``boldly`` (half as far from certainty as it should be) or ``idly``.
    """
    random = Random(seed)
    found = []
    for _ in range(count):
        truth = random.random()
        says = {"truly": truth, "boldly": 0.5 + truth / 2, "idly": random.random()}
        found.append(Evidence({name: says[how] for name, how in told.items()}, random.random() < truth))
    return found


def scored(calibrator: Calibrator, evidence: Sequence[Evidence]) -> tuple[list[float], list[bool]]:
    return [calibrator.probability(item.signals) for item in evidence], [item.right for item in evidence]


def test_a_signal_that_keeps_its_word_is_taken_at_it() -> None:
    calibrator = fitted(drawn(900, logprob="truly"))

    assert calibrator.intercept == pytest.approx(0, abs=0.25)
    assert calibrator.terms["logprob"].weight == pytest.approx(1, abs=0.25)
    assert calibrator.probability({"logprob": 0.9}) == pytest.approx(0.9, abs=0.04)


def test_a_signal_that_promises_too_much_is_put_right() -> None:
    calibrator = fitted(drawn(900, stated="boldly"))
    fresh = drawn(4000, seed=1, stated="boldly")

    scores, right = scored(calibrator, fresh)
    before = expected_calibration_error([item.signals["stated"] for item in fresh], right)

    assert before > 0.2
    assert expected_calibration_error(scores, right) < 0.06


def test_with_much_evidence_a_curve_takes_care_of_what_no_logistic_curve_can() -> None:
    """Half of what states more than 0.5 is right, and none below: a step."""
    random = Random(0)
    cases = [Evidence({"stated": value}, value > 0.5 and random.random() < 0.5) for value in np.linspace(0, 1, 4000)]
    fresh = cases[::2]

    scores, right = scored(fitted(cases[1::2]), fresh)
    plain, _ = scored(replace(fitted(cases[1::2]), curve=None), fresh)

    assert expected_calibration_error(scores, right) < 0.5 * expected_calibration_error(plain, right)


def test_there_is_a_curve_from_so_much_evidence_on() -> None:
    evidence = drawn(CURVE_EVIDENCE, logprob="truly")

    assert fitted(evidence[1:]).curve is None
    assert fitted(evidence).curve is not None


def test_signals_that_know_different_things_together_know_more() -> None:
    random = Random(0)
    evidence = []
    for _ in range(800):
        right = random.random() < 0.5
        told = {name: min(1.0, max(0.0, random.gauss(0.6 if right else 0.4, 0.2))) for name in ("logprob", "weak")}
        evidence.append(Evidence(told, right))
    training, fresh = evidence[:400], evidence[400:]

    scores, right_ones = scored(fitted(training), fresh)
    singles = [auroc([item.signals[name] for item in fresh], right_ones) or 0 for name in ("logprob", "weak")]

    assert (auroc(scores, right_ones) or 0) > max(singles) + 0.03


def test_a_signal_that_knows_nothing_does_no_harm() -> None:
    calibrator = fitted(drawn(500, logprob="truly", neighbors="idly"))
    fresh = drawn(3000, seed=1, logprob="truly", neighbors="idly")

    scores, right = scored(calibrator, fresh)
    alone = auroc([item.signals["logprob"] for item in fresh], right)

    assert auroc(scores, right) == pytest.approx(alone, abs=0.01)


def test_a_signal_that_says_the_opposite_is_passed_over_rather_than_turned_round() -> None:
    evidence = [Evidence({"stated": 1 - item.signals["stated"]}, item.right) for item in drawn(400, stated="truly")]

    assert fitted(evidence).terms["stated"].weight == 0


def test_that_a_signal_is_missing_is_a_sign_itself() -> None:
    """Right throughout where the LLM told a log-probability, and wrong where it did not."""
    evidence = [
        Evidence({"logprob": 0.8, "stated": 0.9} if even else {"stated": 0.9}, even) for even in [True, False] * 40
    ]

    calibrator = fitted(evidence)

    assert calibrator.probability({"logprob": 0.8, "stated": 0.9}) > 0.85
    assert calibrator.probability({"stated": 0.9}) < 0.15


def test_a_signal_that_was_never_missing_counts_as_average_where_it_is() -> None:
    calibrator = fitted(drawn(400, stated="boldly"))  # about 0.75 on average, and half of them right

    assert calibrator.probability({}) == pytest.approx(0.5, abs=0.1)


def test_a_signal_of_which_there_was_no_evidence_changes_nothing() -> None:
    calibrator = fitted(drawn(100, logprob="truly"))

    assert calibrator.probability({"logprob": 0.7, "agreement": 0.1}) == calibrator.probability({"logprob": 0.7})


@pytest.mark.parametrize("right", [True, False])
def test_where_all_were_alike_nothing_is_certain_still(right: bool) -> None:
    calibrator = fitted([Evidence({"stated": 0.9}, right)] * 48)

    # Laplace's rule of succession: 48 of 48 and one each way.
    assert calibrator.probability({"stated": 0.9}) == pytest.approx(49 / 50 if right else 1 / 50, abs=1e-4)


def test_token_probabilities_are_told_apart_up_to_a_millionth() -> None:
    calibrator = Calibrator(30, 0.0, {"logprob": Term(1.0, 0.0), "stated": Term(1.0, 0.0)})

    assert calibrator.probability({"logprob": 0.9999}) < calibrator.probability({"logprob": 0.99999})
    assert calibrator.probability({"stated": 0.9999}) == calibrator.probability({"stated": 1.0})


def test_below_so_much_evidence_there_is_no_calibrator() -> None:
    evidence = drawn(MIN_EVIDENCE, logprob="truly")

    assert Calibrator.fit(evidence[1:]) is None
    assert Calibrator.fit(evidence) == fitted(evidence)


def test_of_no_evidence_at_all_everything_is_as_likely_as_not() -> None:
    assert fitted([]).probability({"logprob": 0.9}) == pytest.approx(0.5)


def test_cross_fitted_scores_come_from_calibrators_that_did_not_see_the_case() -> None:
    evidence = drawn(60, logprob="truly")
    held_out = folds([item.right for item in evidence])[0]
    others = [item for place, item in enumerate(evidence) if place not in held_out]

    scores = cross_fitted(evidence)

    assert [scores[place] for place in held_out] == [
        fitted(others).probability(evidence[place].signals) for place in held_out
    ]


def test_folds_are_all_places_once_with_the_same_share_of_right_ones() -> None:
    right = [place % 5 != 0 for place in range(100)]

    parts = folds(right)

    assert sorted(place for part in parts for place in part) == list(range(100))
    assert [sum(right[place] for place in part) for part in parts] == [8] * 10
    assert folds([True, False], 10) == [[1], [0]]


def test_quality_is_measured_of_enough_scores() -> None:
    evidence = drawn(600, logprob="truly")
    scores, right = cross_fitted(evidence), [item.right for item in evidence]

    found = Quality.measure(scores, right)

    assert found is not None
    assert found == Quality(
        600,
        sum(right) / 600,
        expected_calibration_error(scores, right),
        noise_floor(scores),
        auroc(scores, right),
        coverage_at(scores, right, 0.95),
    )
    assert found.calibration_error < 2 * found.noise_floor
    assert Quality.measure(scores[: MIN_EVIDENCE - 1], right[: MIN_EVIDENCE - 1]) is None


@pytest.mark.parametrize(
    ("stage", "signals", "expected"),
    [
        ("llm", {"stated": 0.9, "logprob": 0.4, "agreement": 0.6, "weak": 0.1}, 0.4),
        ("llm", {"stated": 0.9, "agreement": 0.6, "neighbors": 0.3}, 0.6),
        ("llm", {"stated": 0.9, "weak": 0.1}, 0.9),
        ("escalation", {"weak": 0.2, "neighbors": 0.3}, 0.2),
        ("weak_model", {"weak": 0.7, "neighbors": 0.3, "logprob": 0.1}, 0.7),
        ("rules", {"rules": 0.98, "weak": 0.3}, 0.98),
        ("ensemble", {"pool": 0.8, "logprob": 0.3}, 0.8),
        ("llm", {"logprob": float("nan"), "stated": 0.9}, 0.9),
        ("llm", {}, 0.0),
    ],
)
def test_before_evidence_the_score_is_the_best_single_signal_and_says_so(
    stage: str, signals: Signals, expected: float
) -> None:
    assert Calibration({}).score(stage, signals) == Score(expected, is_calibrated=False)


def test_each_stage_is_calibrated_by_its_own_evidence() -> None:
    calibration = Calibration.fit(
        {
            "weak_model": [Evidence({"weak": 0.9}, right=True)] * 40,
            "llm": [Evidence({"stated": 0.9}, right=False)] * 40,
            "escalation": [Evidence({"stated": 0.9}, right=False)] * 29,
        }
    )

    assert set(calibration.calibrators) == {"weak_model", "llm"}
    assert calibration.score("weak_model", {"weak": 0.9}).value > 0.9
    assert calibration.score("llm", {"stated": 0.9}).value < 0.1
    assert calibration.score("escalation", {"stated": 0.9}) == Score(0.9, is_calibrated=False)


def test_a_label_without_a_weak_models_word_is_scored_by_the_evidence_without_it() -> None:
    evidence = drawn(100, logprob="truly", weak="truly", neighbors="truly")
    alone = [Evidence({"logprob": item.signals["logprob"]}, item.right) for item in evidence]

    calibration = Calibration.of_stage("llm", evidence)

    assert calibration == Calibration({"llm": fitted(evidence)}, {"llm": fitted(alone)})
    assert calibration.score("llm", {"logprob": 0.7}).value == fitted(alone).probability({"logprob": 0.7})
    assert calibration.score("llm", {"logprob": 0.7, "weak": 0.7}) != calibration.score("llm", {"logprob": 0.7})


def test_where_the_evidence_lacks_that_word_at_times_this_is_a_sign_like_others() -> None:
    evidence = [*drawn(100, logprob="truly", weak="truly"), *drawn(1, logprob="truly")]

    assert Calibration.of_stage("llm", evidence) == Calibration({"llm": fitted(evidence)})


def test_a_stage_that_is_learned_anew_keeps_nothing() -> None:
    first = Calibration.of_stage("llm", drawn(100, logprob="truly", weak="truly"))
    other = Calibration.of_stage("weak_model", drawn(100, weak="truly"))
    anew = Calibration.of_stage("llm", drawn(100, logprob="truly"))

    found = first.updated(other).updated(anew)

    assert found == Calibration({**other.calibrators, **anew.calibrators}, other.early)


def test_a_stage_that_does_not_exist_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        Calibration({}).score("oracle", {})


def test_every_stage_goes_by_signals_that_exist() -> None:
    assert all(set(own) <= set(SIGNALS) for own in STAGES.values())


def test_a_frozen_calibration_is_a_few_numbers_and_thaws_to_the_same() -> None:
    calibration = Calibration.fit(
        {"llm": drawn(1500, logprob="truly", stated="boldly"), "weak_model": drawn(50, weak="truly")}
    )

    text = json.dumps(calibration.to_json())

    assert Calibration.from_json(json.loads(text)) == calibration
    assert Calibration.from_json(Calibration().to_json()) == Calibration()
    assert len(text) < 4000


VALID: dict[str, Any] = {"version": 1, "evidence": 40, "intercept": 0.5, "terms": {"weak": [1, 0.2]}, "curve": None}


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": None},
        {"evidence": 0},
        {"evidence": "40"},
        {"evidence": True},
        {"intercept": float("nan")},
        {"intercept": 10**400},
        {"intercept": None},
        {"terms": {"mood": [1, 2]}},
        {"terms": {"weak": [-1, 2]}},
        {"terms": {"weak": [1]}},
        {"terms": {"weak": 1}},
        {"terms": []},
        {"curve": [[0.5]]},
        {"curve": [[0.5], [1.5]]},
        {"curve": [[0.5, 0.4], [0.1, 0.2]]},
        {"curve": [[0.4, 0.5], [0.2, 0.1]]},
        {"curve": [[0.0], [0.1]]},
        {"curve": [["0.1"], [0.1]]},
        {"curve": [[0.1], [0.1, 0.2]]},
        {"curve": "none"},
        {"mood": 1},
    ],
)
def test_what_it_does_not_know_it_refuses(change: dict[str, Any]) -> None:
    assert Calibrator.from_json(VALID) == Calibrator(40, 0.5, {"weak": Term(1, 0.2)})
    with pytest.raises(UnknownCalibration):
        Calibrator.from_json({**VALID, **change})


@pytest.mark.parametrize("found", [[], None, {"oracle": {}}, {"llm": {}}, {"llm": []}])
def test_a_calibration_that_is_none_is_refused(found: Any) -> None:
    with pytest.raises(UnknownCalibration):
        Calibration.from_json(found)
    for part in ({"stages": found, "early": {}}, {"stages": {}, "early": found}):
        with pytest.raises(UnknownCalibration):
            Calibration.from_json(part)


@settings(max_examples=60, deadline=None)
@given(EVIDENCE, SOME_SIGNALS, st.sampled_from(list(STAGES)))
def test_whatever_it_learned_from_a_score_is_finite_within_0_and_1_and_thaws_to_the_same(
    evidence: list[Evidence], signals: Signals, stage: str
) -> None:
    calibration = Calibration.fit({stage: evidence})

    score = calibration.score(stage, signals)

    assert 0.0 <= score.value <= 1.0
    assert score.is_calibrated == (len(evidence) >= MIN_EVIDENCE)
    assert Calibration.fit({stage: evidence}) == calibration
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))).score(stage, signals) == score


@settings(max_examples=60, deadline=None)
@given(EVIDENCE, SOME_SIGNALS, st.sampled_from(SIGNALS), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_a_signal_that_says_more_never_lowers_the_score(
    evidence: list[Evidence], signals: Signals, name: str, one: float, other: float, has_curve: bool
) -> None:
    curve = Curve((0.2, 0.7), (0.3, 0.4)) if has_curve else None
    calibrator = replace(fitted(evidence), curve=curve)

    low, high = (calibrator.probability({**signals, name: value}) for value in sorted([one, other]))

    assert low <= high + 1e-12


@given(st.dictionaries(st.sampled_from(SIGNALS), ANYTHING))
def test_the_best_single_signal_is_one_of_them(signals: dict[str, float]) -> None:
    clipped = {min(1.0, max(0.0, value)) for value in signals.values() if np.isfinite(value)}

    assert best_single(signals) in (clipped or {0.0})
