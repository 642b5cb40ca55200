"""Similar texts side by side."""

from hypothesis import given
from hypothesis import strategies as st

from prelabel.quality import grouping
from prelabel.quality.grouping import similar_order

CARDS = [f"my new card number {number} has not arrived" for number in range(3)]
RATES = [f"which exchange rate do you use in {place}" for place in ("Peru", "Chile", "Cuba")]


def test_what_is_alike_stands_together() -> None:
    texts = [CARDS[0], RATES[0], CARDS[1], RATES[1], RATES[2], CARDS[2]]

    order = similar_order(texts, 3)

    assert [{texts[place] for place in order[:3]}, {texts[place] for place in order[3:]}] == [set(CARDS), set(RATES)]


def test_a_group_begins_with_the_first_that_is_left() -> None:
    assert similar_order([RATES[0], CARDS[0], RATES[1], CARDS[1]], 2) == [0, 2, 1, 3]


def test_tickets_that_go_alone_stay_as_they_are() -> None:
    assert similar_order([RATES[0], CARDS[0], RATES[1]], 1) == [0, 1, 2]


def test_many_are_compared_block_by_block() -> None:
    texts = [CARDS[0], RATES[0]] * grouping.BLOCK

    order = similar_order(texts, 2)

    assert sorted(order) == list(range(len(texts)))
    assert set(order[: grouping.BLOCK]) == set(range(grouping.BLOCK))


@given(st.lists(st.text(max_size=4), max_size=12), st.integers(1, 5))
def test_every_place_comes_once(texts: list[str], size: int) -> None:
    assert sorted(similar_order(texts, size)) == list(range(len(texts)))
