"""Reviews as each process knows them: those of people, of this project, as the store has them now."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from prelabel.core.types import Annotation, Choices, Example, Label, LabelSource, Ticket
from prelabel.errors import StoreUnavailable
from prelabel.quality.evidence import Blind
from prelabel.quality.reviews import Agreement
from prelabel.reviews.source import Reviews
from prelabel.store.annotations import Annotations, Changes
from prelabel.store.keys import ProjectRef

PROJECT = ProjectRef(7, 1)
INTENT = Choices("intent", "text", (Label("Refund", "Refund"), Label("Other", "Other")))
TONE = Choices("tone", "text", (Label("Kind", "Kind"),))
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


def reviews_of(store: FakeStore) -> Reviews:
    return Reviews(cast(Annotations, store))


def shown(
    reviews: Reviews, *texts: str, task_id: int | None = 1, questions: Sequence[Choices] = (INTENT,)
) -> list[list[int]]:
    """The tasks that are examples for each text."""
    found = reviews.around(PROJECT, questions, [Ticket(task_id, text) for text in texts], 8)
    return [[example.task_id for example in each.examples] for each in found]


def two_kinds(count: int) -> list[Annotation]:
    """As many reviewed tickets, every other one a refund."""
    texts = {"Refund": "give me my money back", "Other": "the app does not start"}
    labels = ["Refund", "Other"] * count
    return [reviewed(number, f"{texts[labels[number]]} {number}", labels[number]) for number in range(count)]


def test_each_ticket_gets_its_own_examples() -> None:
    reviews = reviews_of(FakeStore(reviewed(1, CARD), reviewed(2, PARCEL, "Other"), reviewed(3, "返金")))

    found = reviews.around(PROJECT, [INTENT], [Ticket(1, "a stolen card"), Ticket(None, "a lost parcel")], 1)

    assert [each.examples for each in found] == [
        [Example(101, CARD, {"intent": ("Refund",)})],
        [Example(102, PARCEL, {"intent": ("Other",)})],
    ]


def test_an_evaluation_sees_no_copies() -> None:
    reviews = reviews_of(FakeStore(reviewed(1, CARD), reviewed(2, "a card")))

    [found] = reviews.around(PROJECT, [INTENT], [Ticket(None, CARD)], 8, is_evaluation=True)

    assert ([example.task_id for example in found.examples], found.same) == ([102], {})


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
    assert shown(reviews_of(FakeStore(reviewed(1, source=source))), CARD) == found


def test_a_correction_counts_at_once() -> None:
    store = FakeStore(reviewed(1, label="Refund"))
    reviews = reviews_of(store)
    shown(reviews, CARD)
    store.changed += [reviewed(1, label="Other"), reviewed(2, PARCEL)]

    found = reviews.around(PROJECT, [INTENT], [Ticket(1, CARD), Ticket(1, PARCEL)], 1)

    assert [each.examples[0].labels for each in found] == [{"intent": ("Other",)}, {"intent": ("Refund",)}]
    assert store.asked == [0, 1]


def test_a_text_that_was_edited_is_found_by_the_new_one() -> None:
    store = FakeStore(reviewed(1, CARD, author=1))
    reviews = reviews_of(store)
    shown(reviews, CARD)
    store.changed.append(reviewed(2, "返金", task_id=101, author=1))

    assert shown(reviews, CARD, "返金") == [[], [101]]


def test_changes_that_nobody_looked_at_add_up() -> None:
    store = FakeStore(reviewed(1))
    reviews = reviews_of(store)
    shown(reviews, CARD)
    for change in (reviewed(1, label="Other"), reviewed(2, PARCEL)):
        store.changed.append(change)
        reviews.blind(PROJECT, [INTENT])

    [found] = reviews.around(PROJECT, [INTENT], [Ticket(9, CARD)], 8)

    assert found.same == {"intent": (("Other",), 1)}
    assert {example.task_id for example in found.examples} == {101, 102}


def test_what_is_known_already_is_not_read_again() -> None:
    store = FakeStore(reviewed(1), reviewed(2, PARCEL))
    reviews = reviews_of(store)
    shown(reviews, CARD)
    shown(reviews, CARD)

    assert store.asked == [0, 2]


@pytest.mark.parametrize("change", [1, reviewed(1, source=LabelSource.BULK_ACCEPTED)])
def test_what_is_deleted_or_nobodys_any_more_is_no_review(change: Annotation | int) -> None:
    store = FakeStore(reviewed(1))
    reviews = reviews_of(store)
    shown(reviews, CARD)
    store.changed.append(change)

    [found] = reviews.around(PROJECT, [INTENT], [Ticket(1, CARD)], 8)

    assert (found.examples, found.near, found.same) == ([], [], {})


def test_one_of_two_annotations_deleted_leaves_the_other() -> None:
    store = FakeStore(reviewed(1, label="Refund"), reviewed(2, label="Other", task_id=101))
    reviews = reviews_of(store)
    before = shown(reviews, CARD)
    store.changed.append(2)

    assert (before, shown(reviews, CARD)) == ([[]], [[101]])


def test_a_task_that_several_people_reviewed_is_one_example_with_what_most_say() -> None:
    people = [reviewed(number, label=label, task_id=101) for number, label in enumerate(["Other", "Refund", "Other"])]

    [found] = reviews_of(FakeStore(*people)).around(PROJECT, [INTENT], [Ticket(1, CARD)], 8)

    assert found.examples == [Example(101, CARD, {"intent": ("Other",)})]


def test_a_label_that_the_config_lost_parks_its_example_until_it_is_back() -> None:
    reviews = reviews_of(FakeStore(reviewed(1, label="Other")))
    without = Choices("intent", "text", INTENT.labels[:1])

    assert shown(reviews, CARD, questions=[without]) == [[]]
    assert shown(reviews, CARD, questions=[INTENT]) == [[101]]


def test_every_label_of_the_config_may_be_chosen_at_once() -> None:
    everything = reviewed(1, labels={"intent": ("Refund", "Other")})

    assert shown(reviews_of(FakeStore(everything)), CARD) == [[101]]


def test_a_review_without_an_answer_to_what_is_asked_is_no_example() -> None:
    reviews = reviews_of(FakeStore(reviewed(1)))

    [found] = reviews.around(PROJECT, [INTENT, TONE], [Ticket(1, CARD)], 8)

    assert shown(reviews, CARD, questions=[TONE]) == [[]]
    assert found.examples == [Example(101, CARD, {"intent": ("Refund",), "tone": ()})]


def test_while_redis_is_away_what_was_known_last_serves_on() -> None:
    store = FakeStore(*two_kinds(40))
    reviews = reviews_of(store)
    before = shown(reviews, CARD), reviews.weak(PROJECT, [INTENT], patiently=True)
    store.is_down = True

    assert (shown(reviews, CARD), reviews.weak(PROJECT, [INTENT], patiently=True)) == before
    assert shown(reviews_of(store), CARD) == [[]]


def test_a_redis_that_lost_its_data_is_believed() -> None:
    store = FakeStore(reviewed(1), reviewed(2), reviewed(3))
    reviews = reviews_of(store)
    shown(reviews, CARD)
    store.changed = [reviewed(4)]

    assert shown(reviews, CARD) == [[104]]


def test_projects_share_no_reviews() -> None:
    reviews = reviews_of(FakeStore(reviewed(1)))
    recreated = ProjectRef(PROJECT.id, PROJECT.created + 1)

    [found] = reviews.around(recreated, [INTENT], [Ticket(1, CARD)], 8)

    assert found.examples == []
    assert shown(reviews, CARD) == [[101]]


@pytest.mark.parametrize("patiently", [True, False])
def test_a_few_reviews_more_are_learned_at_once(patiently: bool) -> None:
    store = FakeStore(*two_kinds(12))
    reviews = reviews_of(store)
    before = reviews.weak(PROJECT, [INTENT], patiently=patiently)
    store.changed = [*two_kinds(24)]

    after = reviews.weak(PROJECT, [INTENT], patiently=patiently)

    assert before
    assert after
    assert (list(before.shortages), list(after.shortages)) == (["intent"], [])
    assert reviews.weak(PROJECT, [INTENT], patiently=patiently) is after


def test_of_many_reviews_there_is_no_model_before_the_first_is_fitted() -> None:
    reviews = reviews_of(FakeStore(*two_kinds(320)))

    assert reviews.weak(PROJECT, [INTENT], patiently=False) is None
    waited_for = reviews.weak(PROJECT, [INTENT], patiently=True)
    assert waited_for
    assert reviews.weak(PROJECT, [INTENT], patiently=False) is waited_for


def test_what_people_are_tied_about_is_not_learned() -> None:
    tied = [reviewed(1000 + number, label="Other", task_id=100 + number) for number in range(0, 24, 2)]

    model = reviews_of(FakeStore(*two_kinds(24), *tied)).weak(PROJECT, [INTENT], patiently=True)

    assert model
    assert model.shortages == {"intent": "it needs 20 with at least 2 different answers and has 12 with 1"}


def test_evidence_is_what_was_labelled_blind() -> None:
    blind = [reviewed(2, PARCEL, "Other", source=LabelSource.PERSON_BLIND)]

    found = reviews_of(FakeStore(reviewed(1), *blind)).blind(PROJECT, [INTENT, TONE])

    assert found == {102: Blind(102, PARCEL, {"intent": ("Other",)})}


def test_agreement_is_told_of_each_control_that_two_people_answered() -> None:
    people = [
        reviewed(1, task_id=9, author=1, source=LabelSource.PERSON_BLIND),
        reviewed(2, task_id=9, author=2, source=LabelSource.PERSON_BLIND),
        reviewed(3, labels={"tone": ("Kind",)}, author=2, source=LabelSource.PERSON_BLIND),
    ]

    found = reviews_of(FakeStore(*people)).agreement(PROJECT, [INTENT, TONE])

    assert found == {"intent": Agreement(share=1.0, tasks=1)}


def test_who_saw_a_suggestion_does_not_count_for_agreement() -> None:
    answers = enumerate(["Refund", "Other"])
    people = [reviewed(n, CARD, label, author=n, task_id=9, source=LabelSource.PERSON_BLIND) for n, label in answers]
    swayed = [reviewed(number, task_id=9, author=number) for number in range(3, 9)]
    elsewhere = [reviewed(number, task_id=8, author=number) for number in (20, 21)]

    found = reviews_of(FakeStore(*people, *swayed, *elsewhere)).agreement(PROJECT, [INTENT])

    assert found == {"intent": Agreement(share=0.0, tasks=1)}


def test_evidence_is_judged_by_models_that_have_not_seen_it() -> None:
    lie = reviewed(500, "give me my money back, all of it", "Other", source=LabelSource.PERSON_BLIND)
    tied = [reviewed(number, f"{APP} at all", ["Refund", "Other"][number % 2], task_id=900) for number in (700, 701)]

    found = reviews_of(FakeStore(*two_kinds(60), lie, *tied)).cross_fitted(PROJECT, [INTENT], [600, 900, 12345])

    assert {task: told["intent"].labels for task, told in found.items()} == {600: ("Refund",), 900: ("Other",)}
