"""What the nearest reviewed tickets say of a label."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.quality.neighbors import Neighbor, agreement, votes

NEAR = st.lists(st.tuples(st.sets(st.sampled_from("abc"), max_size=3), st.floats(0, 1)), max_size=16)


def test_votes_count_by_similarity_beside_one_that_says_nothing() -> None:
    near: list[Neighbor] = [(("a",), 0.9), (("b",), 0.6), (("a",), 0.5)]

    # 1.4 for a and 0.6 for b of 3, and the silent neighbour's 1 goes to all four evenly.
    assert votes(near, ["a", "b", "c", "d"]) == pytest.approx(
        {"a": 1.65 / 3, "b": 0.85 / 3, "c": 0.25 / 3, "d": 0.25 / 3}
    )


def test_of_no_neighbours_every_label_is_as_likely() -> None:
    assert votes([], ["a", "b"]) == {"a": 0.5, "b": 0.5}
    assert agreement([], ["a"]) is None


def test_agreement_is_about_exactly_these_labels() -> None:
    near: list[Neighbor] = [(("a", "b"), 0.8), (("a",), 0.7)]

    assert agreement(near, ("b", "a")) == pytest.approx((0.8 + 0.5) / 2.5)
    assert agreement(near, ("a",)) == pytest.approx((0.7 + 0.5) / 2.5)
    assert agreement(near, ()) == pytest.approx(0.5 / 2.5)


def test_far_neighbours_are_less_certain_than_near_ones_and_one_than_many() -> None:
    far, close, many = [(("a",), 0.1)], [(("a",), 0.9)], [(("a",), 0.9)] * 3

    shares = [agreement(near, ("a",)) or 0 for near in (far, close, many)]

    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


@given(NEAR, st.sets(st.sampled_from("abc")))
def test_shares_are_within_0_and_1(near: list[Neighbor], labels: set[str]) -> None:
    share = agreement(near, labels)

    assert share is None or 0 < share < 1
    assert all(0 < each <= 1 + 1e-9 for each in votes(near, "abc").values())


@given(st.lists(st.tuples(st.tuples(st.sampled_from("abc")), st.floats(0, 1)), max_size=16))
def test_the_votes_for_a_single_choice_sum_to_1(near: list[Neighbor]) -> None:
    assert sum(votes(near, "abc").values()) == pytest.approx(1)
