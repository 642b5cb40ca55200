"""How many requests are in flight at once."""

from hypothesis import given
from hypothesis import strategies as st

from prelabel.llm.concurrency import Concurrency


def fill(slots: Concurrency, *, is_awaited: bool = False) -> list[int]:
    begun = []
    while slots.has_room(is_awaited=is_awaited):
        begun.append(slots.begin(is_awaited=is_awaited))
    return begun


def test_bulk_work_leaves_an_eighth_to_those_who_are_awaited() -> None:
    slots = Concurrency(32)

    assert (len(fill(slots)), len(fill(slots, is_awaited=True))) == (28, 4)


def test_where_nobody_is_ever_awaited_bulk_work_may_use_every_slot() -> None:
    assert len(fill(Concurrency(32, is_awaited=False))) == 32


def test_those_who_are_awaited_may_use_every_slot() -> None:
    assert len(fill(Concurrency(32), is_awaited=True)) == 32


def test_a_single_slot_is_anybodys() -> None:
    assert len(fill(Concurrency(1))) == 1


def test_overload_halves_the_slots_once_per_round_trip() -> None:
    slots = Concurrency(32)
    begun = fill(slots)

    for number in begun:
        slots.overloaded()
        slots.end(number)

    assert slots.size == 16


def test_overload_after_a_round_trip_halves_again_down_to_one() -> None:
    slots = Concurrency(32)

    for _ in range(10):
        number = slots.begin(is_awaited=False)
        slots.overloaded()
        slots.end(number)

    assert slots.size == 1


def test_as_many_successes_as_slots_make_one_more_up_to_the_ceiling() -> None:
    slots = Concurrency(8)
    slots.overloaded()

    sizes = []
    for _ in range(30):
        slots.went_well()
        sizes.append(slots.size)

    assert sizes == [4] * 3 + [5] * 5 + [6] * 6 + [7] * 7 + [8] * 9


@given(st.integers(1, 40), st.lists(st.sampled_from(["bulk", "awaited", "end", "overloaded", "went_well"])))
def test_there_is_always_a_slot_in_the_end_and_never_one_too_many(ceiling: int, events: list[str]) -> None:
    slots = Concurrency(ceiling)

    for event in events:
        if event in {"bulk", "awaited"} and slots.has_room(is_awaited=event == "awaited"):
            slots.begin(is_awaited=event == "awaited")
        elif event == "end" and slots.in_flight:
            slots.end(min(slots.in_flight))
        elif event == "overloaded":
            slots.overloaded()
        elif event == "went_well":
            slots.went_well()

        assert 1 <= slots.size <= ceiling
        assert len(slots.in_flight) <= ceiling
    for number in tuple(slots.in_flight):
        slots.end(number)

    assert slots.has_room(is_awaited=False)
