"""What reviewed tasks say of a ticket: examples, neighbours, and what its very text was labelled."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.types import Annotation, Choices, Example, LabelSource, Ticket
from prelabel.quality.neighbors import NEIGHBORS
from prelabel.quality.surroundings import NEAR_COPY, Around
from prelabel.reviews.tasks import ReviewedTasks
from tests.unit.reviewing import INTENT, TAGS, TONE, question, said

CARD, PARCEL, APP = "my card was stolen", "where is my parcel", "the app does not start"


def of(task_id: int, text: str, label: str = "refund", **more: object) -> Annotation:
    """The only annotation of a task."""
    return said(label, task_id, task_id=task_id, text=text, **more)


def around(
    annotations: Sequence[Annotation],
    text: str,
    *,
    task_id: int | None = None,
    count: int = 8,
    questions: Sequence[Choices] = (INTENT,),
    is_evaluation: bool = False,
) -> Around:
    tasks = ReviewedTasks()
    tasks.change(annotations)
    [found] = tasks.surroundings(tuple(questions)).around([Ticket(task_id, text)], count, is_evaluation=is_evaluation)
    return found


def near(found: Around) -> list[int]:
    return [example.task_id for example, _ in found.near]


def shown(found: Around) -> list[int]:
    return [example.task_id for example in found.examples]


def test_each_ticket_gets_its_own_surroundings() -> None:
    tasks = ReviewedTasks()
    tasks.change([of(1, CARD), of(2, PARCEL, "shipping"), of(3, "返金", "other")])

    card, parcel, unlike = tasks.surroundings((INTENT,)).around(
        [Ticket(9, "a stolen card"), Ticket(None, PARCEL), Ticket(None, "zzz")], 1
    )

    assert card.examples == [Example(1, CARD, {"intent": ("refund",)})]
    assert parcel.near[0][0] == Example(2, PARCEL, {"intent": ("shipping",)})
    assert parcel.near[0][1] == pytest.approx(1.0)
    assert (card.same, parcel.same) == ({}, {"intent": (("shipping",), 1)})
    assert unlike == Around(examples=[], near=[], same={})


def test_nothing_reviewed_is_nothing_around() -> None:
    assert around([], CARD) == Around(examples=[], near=[], same={})


def test_neighbours_are_the_nearest_with_their_cosines_whatever_their_labels() -> None:
    reviews = [of(number, f"{CARD} {'x' * number}", ["refund", "other"][number % 2]) for number in range(1, 30)]

    found = around([*reviews, of(99, PARCEL, "other")], CARD)

    cosines = [cosine for _, cosine in found.near]
    assert len(found.near) == NEIGHBORS
    assert {example.labels["intent"] for example, _ in found.near} == {("refund",), ("other",)}
    assert 99 not in near(found)
    assert cosines == sorted(cosines, reverse=True)
    assert all(0 < cosine <= 1 for cosine in cosines)


def test_no_examples_wanted_leaves_the_neighbours() -> None:
    found = around([of(1, CARD)], CARD, count=0)

    assert (shown(found), near(found), found.same) == ([], [1], {"intent": (("refund",), 1)})


def test_a_tickets_own_task_is_nowhere_around_it() -> None:
    reviews = [of(1, CARD, "refund"), of(2, "a stolen card", "refund")]

    own, other = around(reviews, CARD, task_id=1), around(reviews, CARD, task_id=7)

    assert (shown(own), near(own), own.same) == ([2], [2], {})
    assert (near(other), other.same) == ([1, 2], {"intent": (("refund",), 1)})


def test_a_ticket_is_shown_the_other_task_with_its_text() -> None:
    copies = [of(number, CARD) for number in (1, 2, 3)]

    assert [len(shown(around(copies, CARD, task_id=number))) for number in (1, 2, 3)] == [1, 1, 1]


def test_the_same_text_counts_its_other_tasks() -> None:
    reviews = [of(1, CARD), of(2, "My CARD  was stolen"), of(3, CARD, "refund")]

    assert around(reviews, CARD, task_id=1).same == {"intent": (("refund",), 2)}
    assert around(reviews, f" {CARD.upper()} ").same == {"intent": (("refund",), 3)}


def test_what_one_disagrees_on_is_not_said_of_the_same_text() -> None:
    both = [("kind", "vip"), ("cross", "vip")]
    reviews = [
        of(number, CARD, labels={"intent": ("refund",), "tone": (tone,), "tags": (tag,)})
        for number, (tone, tag) in enumerate(both, 1)
    ]

    found = around(reviews, CARD, questions=[INTENT, TONE, TAGS])

    assert found.same == {"intent": (("refund",), 2), "tags": (("vip",), 2)}
    assert (shown(found), near(found)) == ([], [1, 2])


def test_that_a_tickets_own_task_disagrees_does_not_count() -> None:
    reviews = [of(1, CARD, "refund"), of(2, CARD, "other")]

    assert around(reviews, CARD, task_id=2).same == {"intent": (("refund",), 1)}


def test_a_ticket_whose_own_task_was_reviewed_with_another_text_counts_all_others() -> None:
    reviews = [of(1, CARD, "refund"), of(2, PARCEL, "refund")]

    assert around(reviews, CARD, task_id=2).same == {"intent": (("refund",), 1)}


def test_people_who_are_tied_about_one_task_leave_the_same_text_open() -> None:
    tied = [said("refund", 10, task_id=1, text=CARD), said("other", 11, task_id=1, text=CARD)]

    found = around([*tied, of(2, CARD, "refund")], CARD)

    assert (found.same, shown(found), near(found)) == ({}, [], [2])


def test_that_no_label_fits_is_said_of_the_same_text_too() -> None:
    reviews = [of(1, CARD, labels={"intent": ("refund",)}), of(2, CARD, labels={"tone": ("kind",)})]

    assert around(reviews, CARD, questions=[INTENT, TAGS]).same == {"intent": (("refund",), 1), "tags": ((), 2)}


def test_neighbours_have_the_controls_that_are_agreed_on_and_examples_all() -> None:
    found = around([of(1, CARD)], CARD, questions=[INTENT, TONE])

    assert [example.labels for example, _ in found.near] == [{"intent": ("refund",)}]
    assert [example.labels for example in found.examples] == [{"intent": ("refund",), "tone": ()}]


def test_in_an_evaluation_near_copies_are_nowhere() -> None:
    long = "my card was stolen yesterday evening at the railway station when I was waiting for the train to Vienna, 1"
    reviews = [of(1, long), of(2, long.upper()), of(3, f"{long}2"), of(4, "a stolen card", "other")]

    usual, evaluation = around(reviews, long), around(reviews, long, is_evaluation=True)

    assert near(usual) == [1, 2, 3, 4]
    assert [cosine >= NEAR_COPY for _, cosine in usual.near] == [True, True, True, False]
    assert (shown(evaluation), near(evaluation), evaluation.same) == ([4], [4], {})


def test_in_an_evaluation_a_near_copy_of_one_ticket_is_no_example_of_another() -> None:
    wanted = "I paid twice for the blue bicycle with the wicker basket and I want half of my money back"
    missing = "I paid twice for the blue bicycle with the wicker basket and it still has not come, where is it please"
    reviews = [of(1, wanted), of(2, wanted.upper()), of(3, missing, "shipping"), of(4, "a blue bicycle", "other")]
    tasks = ReviewedTasks()
    tasks.change(reviews)

    one, other = tasks.surroundings((INTENT,)).around([Ticket(1, wanted), Ticket(9, missing)], 8, is_evaluation=True)

    assert (shown(one), shown(other)) == ([4], [1, 4])  # a request shows none of the tasks that it asks about
    assert (near(one), near(other)) == ([3, 4], [1, 2, 4])


def test_in_an_evaluation_a_task_that_is_no_copy_may_be_an_example_of_another() -> None:
    tasks = ReviewedTasks()
    tasks.change([of(1, CARD), of(2, f"{CARD} by a cat", "other")])

    found = tasks.surroundings((INTENT,)).around(
        [Ticket(1, CARD), Ticket(2, f"{CARD} by a cat")], 8, is_evaluation=True
    )

    assert [shown(each) for each in found] == [[2], [1]]


def test_in_an_evaluation_the_same_text_in_other_characters_is_a_copy() -> None:
    wide = "".join(chr(ord(char) + 0xFEE0) if char != " " else char for char in CARD)
    reviews = [of(1, f"{wide} {PARCEL} {APP}"), of(2, PARCEL)]

    found = around(reviews, f"{CARD} {PARCEL} {APP}", is_evaluation=True)

    assert near(found) == [2]


def test_an_evaluated_ticket_without_a_task_or_with_an_unknown_one_is_looked_at_alike() -> None:
    reviews = [of(1, CARD), of(2, PARCEL, "other")]

    assert around(reviews, APP, is_evaluation=True) == around(reviews, APP, task_id=77, is_evaluation=True)


def test_of_few_labels_the_nearest_of_each_among_many() -> None:
    reviews = [of(number, f"{CARD} {number}") for number in range(1, 200)]

    found = around([*reviews, of(500, PARCEL, "shipping"), of(501, "is my parcel lost", "shipping")], CARD)

    assert [example.labels["intent"] for example in found.examples] == [("refund",), ("shipping",)] * 2


def test_with_77_labels_the_nearest_are_shown() -> None:
    many = question(*(f"label {number}" for number in range(77)))
    reviews = [of(number, f"{CARD} {'x' * number}", f"label {number}") for number in range(1, 77)]

    found = around([*reviews, of(99, PARCEL, "label 0")], CARD, questions=[many], count=4)

    assert len(found.examples) == 4
    assert shown(found) == near(found)[:4]


def test_what_nobody_can_be_agreed_on_about_is_no_neighbour() -> None:
    tied = [said("refund", 10, task_id=1, text=CARD), said("other", 11, task_id=1, text=CARD)]

    assert near(around(tied, CARD)) == []


TEXTS = st.sampled_from([CARD, CARD.upper(), PARCEL, f"{PARCEL}?", APP, "", "返金"])
ANNOTATIONS = st.lists(
    st.builds(
        said,
        st.sampled_from(["refund", "other", "gone"]),
        st.integers(1, 30),
        st.integers(1, 6),
        text=TEXTS,
        author=st.integers(1, 3),
        source=st.sampled_from(LabelSource),
        correction=st.booleans(),
    ),
    max_size=12,
    unique_by=lambda annotation: annotation.id,
)


@given(ANNOTATIONS, TEXTS, st.integers(1, 6), st.integers(0, 5), st.booleans())
def test_a_ticket_never_hears_of_itself_nor_in_an_evaluation_of_its_copies(
    annotations: list[Annotation], text: str, task_id: int, count: int, is_evaluation: bool
) -> None:
    found = around(annotations, text, task_id=task_id, count=count, is_evaluation=is_evaluation)

    everywhere = {*shown(found), *near(found)}
    people = [each for each in annotations if each.source.is_person]
    assert task_id not in everywhere
    assert everywhere <= {each.task_id for each in people}
    assert len(found.examples) <= count
    if is_evaluation:
        assert not any(cosine >= NEAR_COPY for _, cosine in found.near)
        assert found.same == {}
    for labels, tasks in found.same.values():
        agreeing = {each.task_id for each in people if each.labels["intent"] == labels and each.task_id != task_id}
        assert 0 < tasks <= len(agreeing)
