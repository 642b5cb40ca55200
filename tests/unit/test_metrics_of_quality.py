"""The figures by which scores are judged, against values worked out by hand."""

from collections.abc import Sequence
from itertools import product
from math import sqrt
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.quality.metrics import auroc, bin_of, coverage_at, expected_calibration_error, noise_floor

SCORED = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.75, 0.9, 1.0]) | st.floats(0, 1), st.booleans()), max_size=40
)


def unzipped(scored: Sequence[tuple[float, bool]]) -> tuple[list[float], list[bool]]:
    return [score for score, _ in scored], [right for _, right in scored]


def test_the_calibration_error_is_each_bins_gap_by_its_share_of_the_tickets() -> None:
    # Bin 0.8 to 0.9: three tickets state 2.5, two are right. Bin 0.2 to 0.3: one states 0.2 and is right.
    error = expected_calibration_error([0.8, 0.85, 0.85, 0.2], [True, True, False, True])

    assert error == pytest.approx(3 / 4 * (2.5 / 3 - 2 / 3) + 1 / 4 * 0.8)


def test_within_a_bin_too_much_and_too_little_make_up_for_each_other() -> None:
    assert expected_calibration_error([0.5, 0.5], [True, False]) == pytest.approx(0)
    assert expected_calibration_error([0.45, 0.55], [True, False]) == pytest.approx(0.55)


@pytest.mark.parametrize(("probability", "number"), [(0.0, 0), (0.0999, 0), (0.1, 1), (0.99, 9), (1.0, 9)])
def test_a_bin_has_its_lower_end_and_the_last_one_both(probability: float, number: int) -> None:
    assert bin_of(probability) == number


def test_of_no_tickets_there_is_nothing_to_say() -> None:
    assert expected_calibration_error([], []) == 0
    assert noise_floor([]) == 0
    assert auroc([], []) is None
    assert coverage_at([], [], 0.95) == 0


def test_the_noise_floor_is_what_chance_alone_does_to_true_scores() -> None:
    # The mean deviation of a share of 400 from 0.5 is close to sqrt(2 / pi) standard deviations.
    expected = sqrt(2 / np.pi * 0.25 / 400)

    assert noise_floor([0.5] * 400) == pytest.approx(expected, rel=0.1)
    assert noise_floor([0.0, 1.0] * 50) == 0
    assert noise_floor([0.5] * 400) == noise_floor([0.5] * 400)


def test_true_scores_show_no_more_error_than_the_noise_floor() -> None:
    random = np.random.default_rng(1)
    scores = random.random(5000)
    right = random.random(5000) < scores

    error = expected_calibration_error(scores.tolist(), right.tolist())

    assert 0.3 * noise_floor(scores.tolist()) < error < 2 * noise_floor(scores.tolist())


def test_the_auroc_counts_pairs_and_a_tie_as_half() -> None:
    # Right 0.9 and 0.5 against wrong 0.5 and 0.1: won, won, drawn, won.
    assert auroc([0.9, 0.5, 0.5, 0.1], [True, True, False, False]) == pytest.approx(3.5 / 4)


@pytest.mark.parametrize(("right", "expected"), [([True, True, False], 1.0), ([False, False, True], 0.0)])
def test_the_auroc_of_a_perfect_and_of_a_reversed_order(right: list[bool], expected: float) -> None:
    assert auroc([0.9, 0.8, 0.1], right) == expected


def test_one_score_for_all_tells_nothing_apart() -> None:
    assert auroc([0.7] * 6, [True, False, True, True, False, True]) == 0.5


def test_where_all_are_right_there_is_no_auroc() -> None:
    assert auroc([0.1, 0.2], [True, True]) is None
    assert auroc([0.1, 0.2], [False, False]) is None


@given(SCORED)
def test_the_auroc_is_that_of_all_pairs_counted_one_by_one(scored: list[tuple[float, bool]]) -> None:
    scores, right = unzipped(scored)
    good = [score for score, is_right in scored if is_right]
    bad = [score for score, is_right in scored if not is_right]
    won = sum((a > b) + 0.5 * (a == b) for a, b in product(good, bad))

    found = auroc(scores, right)

    assert found is None if not good or not bad else found == pytest.approx(won / (len(good) * len(bad)))


def test_the_coverage_is_the_largest_share_that_is_right_often_enough() -> None:
    scores = [0.9, 0.8, 0.7, 0.6, 0.5]
    right = [True, False, True, True, False]

    assert coverage_at(scores, right, 1.0) == 1 / 5
    assert coverage_at(scores, right, 0.75) == 4 / 5  # past the second, where it was less
    assert coverage_at(scores, right, 0.6) == 1
    assert coverage_at(scores, [False] * 5, 0.1) == 0


def test_what_reaches_an_accuracy_exactly_reaches_it_in_floating_point_too() -> None:
    assert 0.07 * 100 > 7
    assert coverage_at([0.5] * 100, [True] * 7 + [False] * 93, 0.07) == 1


def test_equal_scores_are_taken_together_or_not_at_all() -> None:
    assert coverage_at([0.9, 0.5, 0.5], [True, True, False], 1.0) == 1 / 3
    assert coverage_at([0.5, 0.5], [True, False], 0.9) == 0


@given(SCORED, st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_the_coverage_is_that_of_the_best_threshold(scored: list[tuple[float, bool]], accuracy: float) -> None:
    scores, right = unzipped(scored)
    best = 0.0
    for threshold in scores:
        taken = [is_right for score, is_right in scored if score >= threshold]
        if sum(taken) >= accuracy * len(taken) - 1e-9:
            best = max(best, len(taken) / len(scored))

    assert coverage_at(scores, right, accuracy) == pytest.approx(best)


@given(SCORED, st.randoms(use_true_random=False))
def test_figures_are_within_0_and_1_and_do_not_hang_on_the_order(
    scored: list[tuple[float, bool]], random: Random
) -> None:
    shuffled = list(scored)
    random.shuffle(shuffled)

    for figure in (expected_calibration_error, auroc, lambda scores, right: coverage_at(scores, right, 0.9)):
        value = figure(*unzipped(scored))
        assert value == pytest.approx(figure(*unzipped(shuffled)))
        assert value is None or 0 <= value <= 1
