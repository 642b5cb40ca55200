"""Reviewed tickets as examples: the nearest, of people, of other tickets, as they stand now."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from prelabel.core.types import Annotation, Choices, Example, Label, LabelSource, Ticket
from prelabel.errors import StoreUnavailable
from prelabel.examples import Examples
from prelabel.store.annotations import Annotations, Changes
from prelabel.store.keys import ProjectRef

PROJECT = ProjectRef(7, 1)
INTENT = Choices("intent", "text", (Label("Refund", "Refund"), Label("Other", "Other")))
CARD, PARCEL, APP = "my card was stolen", "where is my parcel", "the app does not start"


class FakeStore:
    """Annotations with the revision that last touched each; a bare number has been deleted."""

    def __init__(self, *annotations: Annotation) -> None:
        self.changed: list[Annotation | int] = [*annotations]
        self.asked: list[int] = []
        self.is_down = False

    def changes(self, ref: ProjectRef, since: int = 0) -> Changes:
        self.asked.append(since)
        if self.is_down:
            raise StoreUnavailable("Redis does not answer")
        new = self.changed[since:] if ref == PROJECT else []
        put = [change for change in new if isinstance(change, Annotation)]
        return Changes(len(self.changed), put, [change for change in new if isinstance(change, int)])


def reviewed(number: int, text: str = CARD, label: str = "Refund", **more: object) -> Annotation:
    """Annotation ``number`` of task ``100 + number``."""
    plain = Annotation(number, 100 + number, text, {"intent": (label,)}, LabelSource.PERSON, updated_at=float(number))
    return replace(plain, **more)  # type: ignore[arg-type] # any field


def examples_of(store: FakeStore) -> Examples:
    return Examples(cast(Annotations, store))


def nearest(
    examples: Examples, *texts: str, count: int = 8, task_id: int | None = 1, questions: Sequence[Choices] = (INTENT,)
) -> list[list[int]]:
    """The tasks whose reviews are found for each text."""
    found = examples.nearest(PROJECT, questions, [Ticket(task_id, text) for text in texts], count)
    return [[example.task_id for example in near] for near in found]


def test_each_ticket_gets_its_own_examples_the_nearest_first() -> None:
    examples = examples_of(FakeStore(reviewed(1, CARD), reviewed(2, PARCEL, "Other"), reviewed(3, "返金")))

    found = examples.nearest(PROJECT, [INTENT], [Ticket(1, "a stolen card"), Ticket(None, "a lost parcel")], 1)

    assert found == [
        [Example(101, CARD, {"intent": ("Refund",)})],
        [Example(102, PARCEL, {"intent": ("Other",)})],
    ]


def test_there_are_at_most_as_many_as_asked() -> None:
    examples = examples_of(FakeStore(*(reviewed(number, f"{CARD} {number}") for number in range(1, 30))))

    assert [len(near) for near in nearest(examples, CARD, PARCEL, count=3)] == [3, 3]


def test_none_wanted_asks_nobody() -> None:
    store = FakeStore(reviewed(1))

    assert (nearest(examples_of(store), CARD, PARCEL, count=0), store.asked) == ([[], []], [])


def test_a_tickets_own_review_is_not_its_example() -> None:
    examples = examples_of(FakeStore(reviewed(1, CARD), reviewed(2, "a stolen card")))

    assert nearest(examples, CARD, task_id=101) == [[102]]
    assert nearest(examples, CARD, task_id=None) == [[101, 102]]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (LabelSource.PERSON, [[101]]),
        (LabelSource.PERSON_BLIND, [[101]]),
        (LabelSource.BULK_ACCEPTED, [[]]),
        (LabelSource.BACKEND, [[]]),
    ],
)
def test_only_what_people_decided_is_an_example(source: LabelSource, found: list[list[int]]) -> None:
    assert nearest(examples_of(FakeStore(reviewed(1, source=source))), CARD) == found


def test_a_correction_counts_at_once() -> None:
    store = FakeStore(reviewed(1, label="Refund"))
    examples = examples_of(store)
    nearest(examples, CARD)
    store.changed += [reviewed(1, label="Other"), reviewed(2, PARCEL)]

    found = examples.nearest(PROJECT, [INTENT], [Ticket(1, CARD), Ticket(1, PARCEL)], 1)

    assert [near[0].labels for near in found] == [{"intent": ("Other",)}, {"intent": ("Refund",)}]
    assert store.asked == [0, 1]


def test_what_is_known_already_is_not_read_again() -> None:
    store = FakeStore(reviewed(1), reviewed(2))
    examples = examples_of(store)
    nearest(examples, CARD)
    nearest(examples, CARD)

    assert store.asked == [0, 2]


@pytest.mark.parametrize("change", [1, reviewed(1, source=LabelSource.BULK_ACCEPTED)])
def test_what_is_deleted_or_nobodys_any_more_is_no_example(change: Annotation | int) -> None:
    store = FakeStore(reviewed(1))
    examples = examples_of(store)
    nearest(examples, CARD)
    store.changed.append(change)

    assert nearest(examples, CARD) == [[]]


def test_a_task_that_several_people_reviewed_is_one_example_the_newest() -> None:
    old, new = reviewed(1, label="Refund", updated_at=5.0), reviewed(2, label="Other", updated_at=9.0, task_id=101)
    found = [
        examples_of(FakeStore(*both)).nearest(PROJECT, [INTENT], [Ticket(1, CARD)], 8)
        for both in ((old, new), (new, old))
    ]

    assert found == [[[Example(101, CARD, {"intent": ("Other",)})]]] * 2


def test_a_label_that_the_config_lost_parks_its_example_until_it_is_back() -> None:
    examples = examples_of(FakeStore(reviewed(1, label="Other")))
    without = Choices("intent", "text", INTENT.labels[:1])

    assert nearest(examples, CARD, questions=[without]) == [[]]
    assert nearest(examples, CARD, questions=[INTENT]) == [[101]]


def test_every_label_of_the_config_may_be_chosen_at_once() -> None:
    everything = reviewed(1, labels={"intent": ("Refund", "Other")})

    assert nearest(examples_of(FakeStore(everything)), CARD) == [[101]]


def test_parked_examples_leave_room_for_others() -> None:
    parked = [reviewed(number, CARD, "Gone") for number in range(1, 4)]

    assert nearest(examples_of(FakeStore(*parked, reviewed(4, "a card"))), CARD, count=1) == [[104]]


def test_a_review_without_an_answer_to_what_is_asked_is_no_example() -> None:
    tone = Choices("tone", "text", (Label("Kind", "Kind"),))
    examples = examples_of(FakeStore(reviewed(1)))

    assert nearest(examples, CARD, questions=[tone]) == [[]]
    assert examples.nearest(PROJECT, [INTENT, tone], [Ticket(1, CARD)], 8) == [
        [Example(101, CARD, {"intent": ("Refund",), "tone": ()})]
    ]


def test_while_redis_is_away_what_was_known_last_serves_on() -> None:
    store = FakeStore(reviewed(1))
    examples = examples_of(store)
    nearest(examples, CARD)
    store.is_down = True

    assert nearest(examples, CARD) == [[101]]
    assert nearest(examples_of(store), CARD) == [[]]


def test_a_redis_that_lost_its_data_is_believed() -> None:
    store = FakeStore(reviewed(1), reviewed(2), reviewed(3))
    examples = examples_of(store)
    nearest(examples, CARD)
    store.changed = [reviewed(4)]

    assert nearest(examples, CARD) == [[104]]


def test_projects_share_no_examples() -> None:
    examples = examples_of(FakeStore(reviewed(1)))

    recreated = ProjectRef(PROJECT.id, PROJECT.created + 1)
    assert examples.nearest(recreated, [INTENT], [Ticket(1, CARD)], 8) == [[]]
    assert nearest(examples, CARD) == [[101]]
