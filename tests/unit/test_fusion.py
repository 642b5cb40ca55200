"""The ensemble: votes with probabilities to one answer, before and after it has learned what each is worth."""

import json
from collections.abc import Mapping
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prelabel.core.signals import POOL
from prelabel.core.types import Choices, Label
from prelabel.quality.calibration import Calibration
from prelabel.quality.calibrator import MIN_EVIDENCE, UnknownCalibration
from prelabel.quality.fusion import METHODS, Ballot, Case, Ensemble, Fused, Vote, fair_weights, pool_evidence
from prelabel.quality.metrics import expected_calibration_error
from prelabel.quality.pool import fit_weights, opinions, pooled

LABELS = ("a", "b", "c", "d")
UNIT = st.floats(0, 1)
VOTES = st.builds(
    Vote,
    st.lists(st.sampled_from([*LABELS, "gone"]), max_size=3, unique=True).map(tuple),
    st.dictionaries(st.sampled_from(["logprob", "weak", "stated"]), UNIT),
    st.dictionaries(st.sampled_from([*LABELS, "gone"]), UNIT),
)
BALLOTS = st.dictionaries(st.sampled_from(METHODS), VOTES, max_size=4)


def question(*, multiple: bool = False, required: bool = False) -> Choices:
    return Choices("q", "text", tuple(Label(label, label) for label in LABELS), multiple=multiple, required=required)


SINGLE, MULTIPLE = question(), question(multiple=True)


def llm(label: str, logprob: float, **alternatives: float) -> Vote:
    return Vote((label,), {"logprob": logprob}, alternatives)


def weak(**probabilities: float) -> Vote:
    best = max(probabilities, key=probabilities.__getitem__)
    return Vote((best,), {"weak": probabilities[best]}, probabilities)


def two_witnesses(count: int, seed: int = 0, *, honest: float = 0.8, idle: float = 0.25) -> list[Case]:
    """The LLM is right in so many cases and the weak model in so many, each by itself; both state 0.8."""
    random, cases = Random(seed), []
    for _ in range(count):
        truth = random.choice(LABELS)
        said = [
            truth if random.random() < share else random.choice([label for label in LABELS if label != truth])
            for share in (honest, idle)
        ]
        ballot = {"llm": llm(said[0], 0.8), "weak_model": Vote((said[1],), {"weak": 0.8})}
        cases.append(Case(ballot, (truth,)))
    return cases


def accuracy(ensemble: Ensemble, cases: list[Case]) -> float:
    answers = [ensemble.fuse(SINGLE, case.ballot) for case in cases]
    return sum(
        answer is not None and answer.labels == case.labels for answer, case in zip(answers, cases, strict=True)
    ) / len(cases)


def answer(ensemble: Ensemble, ballot: Ballot, asked: Choices = SINGLE) -> Fused:
    fused = ensemble.fuse(asked, ballot)
    assert fused is not None
    return fused


def test_one_vote_alone_is_taken_as_it_is() -> None:
    fused = Ensemble().fuse(SINGLE, {"llm": llm("b", 0.7)})

    assert fused is not None
    assert fused == Fused(("b",), fused.probability, {"logprob": 0.7, "pool": fused.probability})
    assert fused.probability == pytest.approx(0.7)


def test_a_vote_without_a_signal_still_counts_for_its_label() -> None:
    assert answer(Ensemble(), {"rules": Vote(("b",), {})}).labels == ("b",)
    assert answer(Ensemble(), {"rules": Vote(("b",), {})}).probability == pytest.approx(0.5)


def test_two_that_agree_are_as_sure_as_their_geometric_mean_before_evidence() -> None:
    fused = Ensemble().fuse(SINGLE, {"llm": llm("b", 0.9), "weak_model": weak(a=0.1, b=0.7, c=0.1, d=0.1)})

    # sqrt(0.9 * 0.7) to sqrt(0.1 / 3 * 0.1) three times over
    agreed, other = (0.9 * 0.7) ** 0.5, (0.1 / 3 * 0.1) ** 0.5
    assert fused is not None
    assert fused.labels == ("b",)
    assert fused.probability == pytest.approx(agreed / (agreed + 3 * other))


def test_the_surer_of_two_that_disagree_wins() -> None:
    ballot = {"llm": llm("b", 0.5), "weak_model": weak(a=0.9, b=0.05, c=0.03, d=0.02)}

    fused = Ensemble().fuse(SINGLE, ballot)

    assert fused is not None
    assert fused.labels == ("a",)
    assert fused.probability < 0.9


def test_what_an_llm_held_second_can_win_with_anothers_vote() -> None:
    other = weak(a=0.05, b=0.05, c=0.6, d=0.3)

    without = Ensemble().fuse(SINGLE, {"llm": llm("b", 0.5), "weak_model": other})
    told = Ensemble().fuse(SINGLE, {"llm": llm("b", 0.5, b=0.5, d=0.49), "weak_model": other})

    assert without is not None
    assert told is not None
    assert (without.labels, told.labels) == (("c",), ("d",))


def test_a_vote_for_no_label_of_the_question_does_not_count() -> None:
    assert Ensemble().fuse(SINGLE, {"llm": llm("gone", 0.9)}) is None
    assert Ensemble().fuse(SINGLE, {}) is None
    assert Ensemble().fuse(SINGLE, {"rules": Vote((), {}), "llm": llm("b", 0.7)}) == Ensemble().fuse(
        SINGLE, {"llm": llm("b", 0.7)}
    )


def test_it_learns_whom_to_believe() -> None:
    """Both state 0.8, one is right by chance only: before evidence a draw, after it the LLM has its way."""
    ensemble = Ensemble.fit(SINGLE, two_witnesses(300))
    fresh = two_witnesses(1000, seed=1)

    assert accuracy(ensemble, fresh) == pytest.approx(0.8, abs=0.04)
    assert accuracy(ensemble, fresh) > accuracy(Ensemble(), fresh) + 0.1


def test_witnesses_who_know_different_things_weigh_more_together_than_one() -> None:
    ensemble = Ensemble.fit(SINGLE, two_witnesses(1000, honest=0.8, idle=0.8))

    # Independent and taken at their calibrated word, the weights of both are 1.
    assert list(ensemble.weights.values()) == pytest.approx([1, 1], abs=0.15)


def test_a_method_that_repeats_another_adds_nothing() -> None:
    cases = two_witnesses(600)
    echoed = [
        Case({**case.ballot, "weak_model": Vote(case.ballot["llm"].labels, {"weak": 0.8})}, case.labels)
        for case in cases
    ]

    weights = Ensemble.fit(SINGLE, echoed).weights

    assert sum(weights.values()) == pytest.approx(1, abs=0.1)


def test_fused_scores_keep_their_word_after_calibration() -> None:
    cases, fresh = two_witnesses(200, idle=0.6), two_witnesses(1000, seed=1, idle=0.6)
    ensemble = Ensemble.fit(SINGLE, cases)
    calibration = Calibration.fit({"ensemble": pool_evidence(SINGLE, cases)})

    answers = [(ensemble.fuse(SINGLE, case.ballot), case.labels) for case in fresh]
    scores = [calibration.score("ensemble", fused.signals).value for fused, _ in answers if fused]
    right = [fused.labels == labels for fused, labels in answers if fused]

    assert expected_calibration_error(scores, right) < 0.07


def test_pool_evidence_comes_from_ensembles_that_did_not_see_the_case() -> None:
    cases = two_witnesses(60)
    held_out = cases[::10]
    ensemble = Ensemble.fit(SINGLE, [case for place, case in enumerate(cases) if place % 10])

    found = pool_evidence(SINGLE, cases)

    expected = [ensemble.fuse(SINGLE, case.ballot) for case in held_out]
    assert [item.signals[POOL] for item in found[: len(held_out)]] == [fused.probability for fused in expected if fused]
    assert len(found) == len(cases)


def test_below_so_much_evidence_it_is_as_before() -> None:
    assert Ensemble.fit(SINGLE, two_witnesses(MIN_EVIDENCE - 1)) == Ensemble()
    assert Ensemble.fit(SINGLE, two_witnesses(MIN_EVIDENCE)).weights != {}


def test_what_speaks_for_an_answer_is_what_each_method_tells_of_it() -> None:
    """The LLM has said something else: its signals are about that."""
    ballot = {
        "llm": llm("b", 0.4),
        "weak_model": weak(a=0.1, b=0.05, c=0.8, d=0.05),
        "neighbors": Vote(("a",), {"neighbors": 0.5}, {"a": 0.5, "b": 0.1, "c": 0.3, "d": 0.1}),
    }

    fused = answer(Ensemble(), ballot)

    assert fused.labels == ("c",)
    assert fused.signals == {"pool": fused.probability, "weak": 0.8, "neighbors": 0.3}
    assert answer(Ensemble(), {"llm": llm("b", 0.9)}).signals["logprob"] == 0.9


def test_what_speaks_for_a_set_is_the_product_over_all_labels() -> None:
    told = {"a": 0.9, "b": 0.2, "c": 0.4, "d": 0.1}
    ballot = {"llm": Vote(("a", "c"), {"logprob": 0.99}), "weak_model": Vote(("a",), {"weak": 0.4}, told)}
    partly = {**ballot, "weak_model": Vote(("a",), {"weak": 0.4}, {"a": 0.9})}

    fused, unsure = answer(Ensemble(), ballot, MULTIPLE), answer(Ensemble(), partly, MULTIPLE)

    assert (fused.labels, unsure.labels) == (("a", "c"), ("a", "c"))
    assert fused.signals == {"pool": fused.probability, "logprob": 0.99, "weak": pytest.approx(0.9 * 0.8 * 0.4 * 0.9)}
    assert set(unsure.signals) == {"pool", "logprob"}


def test_two_that_know_the_same_reviews_do_not_outvote_the_llm() -> None:
    assert fair_weights(["weak_model", "neighbors", "llm"]) == [0.25, 0.25, 0.5]
    assert fair_weights(["rules", "weak_model", "llm"]) == [1 / 3] * 3
    assert fair_weights(["neighbors"]) == [1]


def test_a_method_that_never_voted_before_has_no_say_beside_those_that_did() -> None:
    ensemble = Ensemble.fit(SINGLE, two_witnesses(100))

    alone = ensemble.fuse(SINGLE, {"rules": Vote(("a",), {"rules": 0.9})})
    beside = ensemble.fuse(SINGLE, {"rules": Vote(("a",), {"rules": 0.9}), "llm": llm("b", 0.8)})

    assert alone is not None
    assert beside is not None
    assert alone.labels == ("a",)
    assert alone.probability == pytest.approx(0.9)
    assert beside.labels == ("b",)
    assert beside.probability == answer(ensemble, {"llm": llm("b", 0.8)}).probability


def test_labels_that_the_question_no_longer_has_teach_nothing() -> None:
    gone = [Case(case.ballot, ("gone",)) for case in two_witnesses(40)]

    assert Ensemble.fit(SINGLE, gone).weights == {}
    assert Ensemble.fit(SINGLE, [Case({}, ("a",))] * 40) == Ensemble()


def test_for_a_multiple_choice_each_label_is_in_or_out_and_the_set_has_the_product() -> None:
    vote = Vote(("a", "c"), {"weak": 0.5}, {"a": 0.9, "b": 0.2, "c": 0.8, "d": 0.1})

    fused = Ensemble().fuse(MULTIPLE, {"weak_model": vote})

    assert fused is not None
    assert fused.labels == ("a", "c")
    assert fused.probability == pytest.approx(0.9 * 0.8 * 0.8 * 0.9)


def test_a_set_alone_is_worth_its_signal() -> None:
    fused = Ensemble().fuse(MULTIPLE, {"llm": Vote(("a", "c"), {"logprob": 0.6})})

    assert fused is not None
    assert fused.labels == ("a", "c")
    assert fused.probability == pytest.approx(0.6)


def test_where_an_answer_is_required_the_likeliest_label_is_in() -> None:
    ballot = {"weak_model": Vote((), {"weak": 0.5}, {"a": 0.1, "b": 0.4, "c": 0.1, "d": 0.1})}
    free, must = (Ensemble().fuse(question(multiple=True, required=required), ballot) for required in (False, True))

    assert free is not None
    assert must is not None
    assert (free.labels, must.labels) == ((), ("b",))
    assert must.probability < free.probability


def test_of_a_multiple_choice_it_learns_whom_to_believe_too() -> None:
    random, cases = Random(0), []
    for _ in range(200):
        truth = tuple(label for label in LABELS if random.random() < 0.4)
        noise = tuple(label for label in LABELS if random.random() < 0.4)
        ballot = {"llm": Vote(truth, {"logprob": 0.8}), "weak_model": Vote(noise, {"weak": 0.8})}
        cases.append(Case(ballot, truth))

    ensemble = Ensemble.fit(MULTIPLE, cases)

    assert [fused.labels if (fused := ensemble.fuse(MULTIPLE, case.ballot)) else None for case in cases] == [
        case.labels for case in cases
    ]


def test_a_frozen_ensemble_thaws_to_the_same() -> None:
    ensemble = Ensemble.fit(SINGLE, two_witnesses(200))

    assert Ensemble.from_json(json.loads(json.dumps(ensemble.to_json()))) == ensemble
    assert Ensemble.from_json(Ensemble().to_json()) == Ensemble()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"voices": []},
        {"voices": {"oracle": {}}},
        {"voices": {"llm": {}}},
        {"weights": []},
        {"weights": {"oracle": 1}},
        {"weights": {"llm": -1}},
        {"weights": {"llm": float("nan")}},
        {"weights": {"llm": True}},
        {"mood": 1},
    ],
)
def test_what_it_does_not_know_it_refuses(change: Mapping[str, Any]) -> None:
    with pytest.raises(UnknownCalibration):
        Ensemble.from_json({**Ensemble().to_json(), **change})


def test_json_that_is_no_ensemble_is_refused() -> None:
    with pytest.raises(UnknownCalibration):
        Ensemble.from_json([])


@settings(max_examples=100, deadline=None)
@given(BALLOTS, st.booleans(), st.booleans())
def test_every_answer_is_of_the_question_and_has_a_probability(ballot: Ballot, multiple: bool, required: bool) -> None:
    asked = question(multiple=multiple, required=required)

    for ensemble in (Ensemble(), Ensemble(weights={"llm": 3.0, "weak_model": 0.0, "rules": 100.0})):
        fused = ensemble.fuse(asked, ballot)
        assert fused is None or set(fused.labels) <= set(LABELS)
        assert fused is None or 0 <= fused.probability <= 1
        assert fused is None or multiple or len(fused.labels) == 1
        assert fused is None or fused.labels or not required


@settings(max_examples=10, deadline=None)
@given(
    st.booleans(),
    st.lists(st.builds(Case, BALLOTS, st.sampled_from([("a",), ("b",), ("gone",)])), min_size=30, max_size=35),
)
def test_whatever_it_learned_from_it_comes_out_the_same_and_finite(multiple: bool, cases: list[Case]) -> None:
    asked = question(multiple=multiple)

    ensemble = Ensemble.fit(asked, cases)

    assert ensemble == Ensemble.fit(asked, cases)
    assert all(np.isfinite(weight) and weight >= 0 for weight in ensemble.weights.values())
    assert Ensemble.from_json(json.loads(json.dumps(ensemble.to_json()))) == ensemble


def test_opinions_of_one_label_over_another_add_up_by_weight() -> None:
    rows = opinions(np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]), multiple=False)

    found = pooled(rows, np.array([1.0, 1.0]), multiple=False)

    assert found == pytest.approx(np.array([0.05, 0.2, 0.025]) / 0.275)


def test_weights_stay_what_they_were_where_cases_say_nothing() -> None:
    silent = np.zeros((5, 2, 3))
    truths = np.eye(3, dtype=bool)[[0, 1, 2, 0, 1]]

    assert fit_weights(silent, truths, np.array([0.3, 0.7]), multiple=False).tolist() == [0.3, 0.7]
