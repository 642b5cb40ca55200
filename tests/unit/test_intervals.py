"""How sure a counted share is."""

from itertools import pairwise
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.quality.intervals import Tally, clopper_pearson


@pytest.mark.parametrize(
    ("right", "judged", "interval"),
    [
        (0, 0, (0, 1)),
        (0, 10, (0, 0.30850)),
        (1, 10, (0.00253, 0.44502)),
        (5, 10, (0.18709, 0.81291)),
        (10, 10, (0.69150, 1)),
        (475, 500, (0.92707, 0.96738)),
    ],
)
def test_the_interval_is_the_exact_one(right: int, judged: int, interval: tuple[float, float]) -> None:
    assert clopper_pearson(right, judged) == pytest.approx(interval, abs=1e-5)


@given(st.integers(1, 200), st.floats(0.001, 0.999))
def test_the_true_share_lies_within_as_often_as_is_said(judged: int, share: float) -> None:
    chance = [comb(judged, right) * share**right * (1 - share) ** (judged - right) for right in range(judged + 1)]
    within = [low <= share <= high for low, high in (clopper_pearson(right, judged) for right in range(judged + 1))]

    assert sum(each for each, held in zip(chance, within, strict=True) if held) >= 0.95 - 1e-9


@given(st.integers(1, 200))
def test_more_right_is_better(judged: int) -> None:
    found = [clopper_pearson(right, judged) for right in range(judged + 1)]

    assert all(one[0] < other[0] and one[1] < other[1] for one, other in pairwise(found))


def test_a_higher_confidence_is_wider() -> None:
    (low, high), (lower, higher) = clopper_pearson(90, 100), clopper_pearson(90, 100, 0.99)

    assert lower < low < 0.9 < high < higher


@pytest.mark.parametrize(("right", "judged"), [(2, 1), (-1, 1)])
def test_what_is_no_share_is_refused(right: int, judged: int) -> None:
    with pytest.raises(ValueError, match=f"{right} of {judged} is no share"):
        clopper_pearson(right, judged)


def test_a_tally_tells_its_share_how_sure_that_is_and_what_to_expect_next() -> None:
    counted, nothing = Tally(9, 10), Tally(0, 0)

    assert (counted.share, counted.interval, counted.expected) == (0.9, clopper_pearson(9, 10), 10 / 12)
    assert (nothing.share, nothing.interval, nothing.expected) == (None, (0.0, 1.0), 0.5)
