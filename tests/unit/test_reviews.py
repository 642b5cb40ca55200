"""What people said of a task as one answer, and how often they agree."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.types import Annotation, Choices, Example
from prelabel.quality.reviews import (
    Agreement,
    Reviewed,
    agreed,
    agreed_labels,
    agreement,
    plain,
    review,
    review_of,
)
from tests.unit.reviewing import INTENT, TAGS, TONE, question, said

ANSWERS = st.sets(st.sampled_from(["refund", "shipping", "gone"]), max_size=2).map(tuple)
ANNOTATIONS = st.lists(
    st.builds(
        said,
        ANSWERS,
        st.integers(1, 9),
        author=st.none() | st.integers(1, 3),
        ground_truth=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda annotation: annotation.id,
)


@pytest.mark.parametrize(
    ("annotations", "labels"),
    [
        ([], None),
        ([said("refund")], ("refund",)),
        ([said("refund", 1), said("refund", 2), said("other", 3)], ("refund",)),
        ([said("refund", 1), said("other", 2)], None),
        ([said("refund", 1), said("refund", 2), said("other", 3), said("other", 4), said("shipping", 5)], None),
        ([said("refund", 1), said("refund", 2), said("other", 3), said("shipping", 4)], ("refund",)),
    ],
)
def test_what_most_people_say_is_agreed_and_a_tie_is_not(
    annotations: Sequence[Annotation], labels: tuple[str, ...] | None
) -> None:
    assert agreed(annotations, INTENT) == labels


def test_each_persons_newest_annotation_counts_once_and_nobodys_each() -> None:
    twice = [said("other", 1, author=7), said("other", 2, author=7), said("other", 3, author=7)]
    changed_mind = [said("refund", 4, author=8), said("other", 5, author=8)]
    nobody = [said("refund", 6, author=None), said("refund", 7, author=None)]

    assert agreed([*reversed(twice), *nobody], INTENT) == ("refund",)
    assert agreed([*reversed(changed_mind)], INTENT) == ("other",)


def test_at_the_same_time_the_later_id_is_newer() -> None:
    both = [said("other", 2, author=7, updated_at=5.0), said("refund", 1, author=7, updated_at=5.0)]

    assert agreed(both, INTENT) == ("other",)


def test_ground_truth_wins_against_any_majority() -> None:
    people = [said("refund", number) for number in range(1, 6)]

    assert agreed([said("other", 9, updated_at=0.0, ground_truth=True), *people], INTENT) == ("other",)


def test_ground_truths_that_differ_vote_among_themselves() -> None:
    people = [said("refund", number) for number in range(1, 6)]
    one, other, third = (
        said(label, 10 + number, ground_truth=True) for number, label in enumerate(["other", "shipping", "other"])
    )

    assert agreed([*people, one, other], INTENT) is None
    assert agreed([*people, one, other, third], INTENT) == ("other",)


def test_ground_truth_that_does_not_answer_leaves_it_to_the_others() -> None:
    truth = said("gone", 9, ground_truth=True)

    assert agreed([truth, said("refund", 1)], INTENT) == ("refund",)


def test_a_label_that_the_config_lost_parks_the_annotation_for_its_control() -> None:
    parked = said("gone", 2, labels={"intent": ("gone",), "tone": ("kind",)})

    assert agreed([parked], INTENT) is None
    assert agreed([parked, said("refund", 1)], INTENT) == ("refund",)
    assert agreed([parked], TONE) == ("kind",)


def test_a_person_whose_newest_is_parked_has_no_say() -> None:
    assert agreed([said("refund", 1, author=7), said("gone", 2, author=7)], INTENT) is None


def test_of_a_multiple_choice_the_exact_set_counts_in_the_configs_order() -> None:
    def tagged(number: int, *tags: str) -> Annotation:
        return said(number=number, labels={"intent": ("refund",), "tags": tags})

    assert agreed([tagged(1, "angry", "vip"), tagged(2, "vip", "angry"), tagged(3, "vip")], TAGS) == ("vip", "angry")
    assert agreed([tagged(1, "vip"), tagged(2, "angry")], TAGS) is None


@pytest.mark.parametrize(
    ("asked", "labels"),
    [
        (TAGS, ()),
        (question("vip", name="tags", multiple=True, required=True), None),
        (question("vip", name="tags"), None),
    ],
)
def test_that_no_label_fits_is_an_answer_to_a_multiple_choice_that_may_be_empty(
    asked: Choices, labels: tuple[str, ...] | None
) -> None:
    assert agreed([said("refund", 1), said("refund", 2)], asked) == labels


def test_77_labels_are_agreed_on_like_three() -> None:
    labels = [f"label {number}" for number in range(77)]
    people = [said(labels[min(number, 60)], number) for number in range(77)]

    assert agreed(people, question(*labels)) == ("label 60",)


def test_the_controls_that_are_agreed_on_have_labels_and_the_others_none() -> None:
    people = [
        said(number=1, labels={"intent": ("refund",), "tone": ("kind",)}),
        said(number=2, labels={"intent": ("refund",), "tone": ("cross",)}),
    ]

    assert agreed_labels(people, [INTENT, TAGS, TONE]) == {"intent": ("refund",), "tags": ()}


@given(ANNOTATIONS, st.randoms())
def test_what_is_agreed_is_somebodys_answer_whatever_the_order(annotations: list[Annotation], random: Random) -> None:
    shuffled = random.sample(annotations, len(annotations))

    labels = agreed(annotations, INTENT)

    assert labels == agreed(shuffled, INTENT)
    assert labels is None or set(labels) in [set(each.labels["intent"]) for each in annotations]
    assert labels is None or set(labels) <= {"refund", "shipping"}


def test_a_task_is_its_newest_text_with_what_is_agreed() -> None:
    people = [
        said("refund", 1, text="An  old text"),
        said("refund", 3, text="A NEW\ttext", correction=True),
        said("other", 2, text="between"),
    ]

    assert review(people, [INTENT, TAGS]) == Reviewed(
        agreed=Example(100, "A NEW\ttext", {"intent": ("refund",), "tags": ()}),
        disputed=frozenset(),
        shown=Example(100, "A NEW\ttext", {"intent": ("refund",), "tags": ()}),
        is_corrected=True,
        plain="a new text",
    )


def test_a_control_that_nobody_answered_is_shown_empty_and_agreed_on_by_nobody() -> None:
    found = review([said("refund")], [INTENT, TONE])

    assert found
    assert found.agreed.labels == {"intent": ("refund",)}
    assert found.shown == Example(100, "my card", {"intent": ("refund",), "tone": ()})


@pytest.mark.parametrize("tone", ["cross", "gone"])
def test_a_task_with_a_control_that_is_disputed_or_parked_is_not_shown(tone: str) -> None:
    people = [
        said(number=1, labels={"intent": ("refund",), "tone": ("kind",)}),
        said(number=2, labels={"intent": ("refund",), "tone": (tone,)}),
    ]
    found = review(people if tone == "cross" else people[1:], [INTENT, TONE])

    assert found
    assert (found.shown, found.agreed.labels) == (None, {"intent": ("refund",)})
    assert found.disputed == (frozenset({"tone"}) if tone == "cross" else frozenset())


def test_a_task_without_any_label_is_not_shown() -> None:
    found = review([said(labels={"intent": ("refund",)})], [TAGS])

    assert found
    assert (found.shown, found.agreed.labels) == (None, {"tags": ()})


def test_a_task_that_is_only_disputed_is_known_as_such() -> None:
    found = review([said("refund", 1), said("other", 2)], [INTENT])

    assert found
    assert (set(found.disputed), dict(found.agreed.labels), found.shown) == ({"intent"}, {}, None)


@pytest.mark.parametrize("annotations", [[], [said("gone")], [said("refund", labels={"tone": ("kind",)})]])
def test_annotations_that_say_nothing_of_what_is_asked_are_no_review(annotations: list[Annotation]) -> None:
    assert review(annotations, [INTENT]) is None


def test_an_annotation_that_was_superseded_corrects_nothing() -> None:
    found = review([said("other", 1, author=7, correction=True), said("refund", 2, author=7)], [INTENT])

    assert found
    assert not found.is_corrected


def test_a_row_of_a_file_is_a_task_with_one_review() -> None:
    row = Example(3, "My  card", {"intent": ("refund",), "tags": (), "tone": ()})

    assert review_of(row, [INTENT, TAGS, TONE]) == Reviewed(
        agreed=Example(3, "My  card", {"intent": ("refund",), "tags": ()}),
        disputed=frozenset(),
        shown=row,
        is_corrected=False,
        plain="my card",
    )


@pytest.mark.parametrize(
    ("text", "other", "is_same"),
    [
        ("My card", "my  CARD\n", True),
        ("\uff32efund", "refund", True),
        ("Stra\u00dfe", "STRASSE", True),
        ("cafe\u0301", "caf\u00e9", True),
        ("my card", "my card!", False),
        ("my card", "mycard", False),
    ],
)
def test_what_a_person_would_call_the_same_text(text: str, other: str, is_same: bool) -> None:
    assert (plain(text) == plain(other)) == is_same


def test_agreement_is_the_share_of_pairs_that_say_the_same_in_the_mean_over_tasks() -> None:
    tasks = [
        [said("refund", 1), said("refund", 2), said("other", 3)],  # one pair of three
        [said("refund", 1), said("refund", 2)],
        [said("refund", 1)],
    ]

    assert agreement(tasks, INTENT) == Agreement(share=(1 / 3 + 1) / 2, tasks=2)


def test_agreement_is_on_exactly_the_same_set() -> None:
    sets = [("vip", "angry"), ("angry", "vip"), ("vip",), ()]
    task = [said(number=number, labels={"tags": tags}) for number, tags in enumerate(sets)]

    assert agreement([task], TAGS) == Agreement(share=2 / 12, tasks=1)


@pytest.mark.parametrize(
    "task",
    [
        pytest.param([said("refund", 1, author=7), said("refund", 2, author=7)], id="one person twice"),
        pytest.param([said("refund", 1, author=None), said("refund", 2, author=None)], id="nobody known"),
        pytest.param([said("refund", 1), said("gone", 2)], id="one of them parked"),
    ],
)
def test_agreement_takes_two_people(task: list[Annotation]) -> None:
    assert agreement([task, []], INTENT) is None


@given(st.lists(ANNOTATIONS, max_size=4))
def test_agreement_is_a_share_of_the_tasks_that_two_people_labelled(tasks: list[list[Annotation]]) -> None:
    found = agreement(tasks, INTENT)

    assert found is None or (0 <= found.share <= 1 and 0 < found.tasks <= len(tasks))
