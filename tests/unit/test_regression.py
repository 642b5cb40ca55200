"""The two fits behind calibrators: curves and logistic regression, against values worked out by hand."""

from itertools import pairwise
from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prelabel.quality.logistic import expit, fit_logistic
from prelabel.quality.monotone import Curve, fit_curve

CASES = st.lists(st.tuples(st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0]), st.booleans()), max_size=40)
ROWS = st.lists(st.tuples(st.floats(-14, 14), st.floats(-14, 14), st.booleans()), min_size=1, max_size=30)
GOOD = np.array([True])


def test_a_curve_goes_through_the_middle_of_its_blocks() -> None:
    # The right case that is added at 0 joins the four at 0.2, the wrong one at 1 those at 0.8.
    curve = fit_curve([0.2] * 4 + [0.8] * 4, [False] * 4 + [True] * 4)

    assert curve.scores == pytest.approx((0.16, 0.84))
    assert curve.shares == pytest.approx((0.2, 0.8))
    assert curve.at(np.array([0.0, 0.08, 0.16, 0.5, 0.92, 1.0])) == pytest.approx([0, 0.1, 0.2, 0.5, 0.9, 1])


def test_blocks_in_the_wrong_order_are_pooled() -> None:
    assert fit_curve([0.1, 0.4, 0.6, 0.9], [False, True, False, True]) == Curve((0.5,), (0.5,))


def test_of_no_cases_a_curve_goes_through_the_middle() -> None:
    assert fit_curve([], []) == Curve((0.5,), (0.5,))


@given(CASES, st.lists(st.floats(0, 1), max_size=5))
def test_a_curve_rises_within_0_and_1_and_keeps_apart_what_was_apart(
    cases: list[tuple[float, bool]], asked: list[float]
) -> None:
    curve = fit_curve([score for score, _ in cases], [right for _, right in cases])
    points = sorted({round(score, 3) for score in (*asked, *(score for score, _ in cases))})

    shares = curve.at(np.array(points)).tolist()

    assert all(0 <= share <= 1 for share in shares)
    assert all(a < b for axis in (shares, curve.scores, curve.shares) for a, b in pairwise(axis))
    assert all(0 < share < 1 for share in curve.shares)


def test_the_intercept_of_no_features_is_laplaces_rule() -> None:
    found = fit_logistic(np.zeros((8, 0)), np.array([True] * 7 + [False]), np.array([], dtype=bool))

    assert found.weights == ()
    assert found.intercept == pytest.approx(log(8 / 2), abs=1e-4)  # (7 + 1) / (1 + 1)


def test_the_optimum_balances_the_cases_against_the_prior() -> None:
    """Of one feature of -1 and 1, half and half, the slope solves a sum that can be checked."""
    features, right = np.array([[-1.0], [1.0]] * 20), np.array([False, True] * 18 + [True, False] * 2)

    [weight] = fit_logistic(features, right, GOOD).weights

    # 36 cases pull up by what is left of them, 4 pull down, the prior pulls down by the weight.
    wrong = 1 / (1 + exp(weight))
    assert 36 * wrong - 4 * (1 - wrong) - weight == pytest.approx(0, abs=1e-3)


def test_the_prior_is_on_the_scale_of_the_feature() -> None:
    features, right = np.array([[-1.0], [1.0]] * 20), np.array([False, True] * 18 + [True, False] * 2)

    small, large = (fit_logistic(features * unit + 5, right, GOOD) for unit in (1.0, 1000.0))

    assert small.weights[0] == pytest.approx(1000 * large.weights[0], rel=1e-4)
    assert small.probabilities(np.array([[6.0]])) == pytest.approx(large.probabilities(np.array([[1005.0]])), rel=1e-4)


def test_a_good_sign_never_gets_a_negative_weight_and_another_may() -> None:
    features, right = np.array([[-1.0], [1.0]] * 20), np.array([True, False] * 20)

    assert fit_logistic(features, right, GOOD).weights == (0.0,)
    assert fit_logistic(features, right, ~GOOD).weights[0] < -1


def test_a_feature_that_never_changes_gets_no_weight() -> None:
    assert fit_logistic(np.full((10, 1), 3.3), np.array([True, False] * 5), GOOD).weights == (0.0,)


@settings(deadline=None)
@given(ROWS)
def test_every_fit_is_finite_and_comes_out_the_same(rows: list[tuple[float, float, bool]]) -> None:
    features, right = np.array([row[:2] for row in rows]), np.array([row[2] for row in rows])
    signs = np.array([True, False])

    found = fit_logistic(features, right, signs)

    assert np.isfinite([*found.weights, found.intercept]).all()
    assert found.weights[0] >= 0
    assert found == fit_logistic(features, right, signs)


@given(st.floats(-1e6, 1e6))
def test_expit_is_the_inverse_of_the_logit_without_overflowing(logit: float) -> None:
    found = float(expit(np.array([logit]))[0])

    assert 0 <= found <= 1
    if abs(logit) < 10:
        assert log(found / (1 - found)) == pytest.approx(logit, abs=1e-6)
