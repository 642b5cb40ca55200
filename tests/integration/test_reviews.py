"""What people review, from Label Studio's webhooks through a real Redis into what each process makes of it."""

from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from prelabel.core.types import Annotation, Choices, Example, Label, LabelSource, Ticket
from prelabel.quality.evidence import Blind
from prelabel.quality.reviews import Agreement
from prelabel.quality.surroundings import Around
from prelabel.quality.weak_model import Guess
from prelabel.reviews.source import Reviews
from prelabel.store.annotations import Annotations
from prelabel.store.keys import ProjectRef
from tests.integration.conftest import PROJECT, Backend, Start, annotation, task
from tests.servers import redis_server

REF = ProjectRef.parse(PROJECT)
INTENT = Choices("intent", "text", tuple(Label(label, label) for label in ("refund", "shipping", "other")))
TEXTS = {"refund": "give me my money back", "shipping": "where is my parcel", "other": "the app does not start"}
LATER = {"updated_at": "2026-11-21T10:00:00Z"}


@pytest.fixture
def reviews(backend: Backend) -> Reviews:
    """Of another process than the one that the webhooks reach."""
    return Reviews(backend.work.annotations)


def around(reviews: Reviews, text: str) -> Around:
    [found] = reviews.around(REF, [INTENT], [Ticket(None, text)], 8)
    return found


def examples(reviews: Reviews, text: str) -> list[Example]:
    return list(around(reviews, text).examples)


def made(count: int, first: int = 1) -> list[Annotation]:
    """As many reviewed tasks, the three labels in turn."""
    found = []
    for number in range(first, first + count):
        label = list(TEXTS)[number % 3]
        text, labels = f"{TEXTS[label]} {number}", {"intent": (label,)}
        found.append(Annotation(number, number, text, labels, LabelSource.PERSON, 1.0, author=1))
    return found


def guesses(reviews: Reviews, texts: Sequence[str]) -> list[dict[str, Guess]]:
    model = reviews.weak(REF, [INTENT], patiently=True)
    assert model
    return model.guess(texts)


def test_a_review_its_change_and_its_end_reach_every_process(backend: Backend) -> None:
    processes = [Reviews(backend.work.annotations) for _ in range(2)]

    backend.event("ANNOTATION_CREATED", annotation=annotation(1, "other"), task=task(1, "my card"))
    first = [examples(each, "a card") for each in processes]
    backend.event("ANNOTATION_UPDATED", annotation=annotation(1, "refund", **LATER), task=task(1, "my card"))
    changed = [examples(each, "a card") for each in processes]
    backend.event("ANNOTATIONS_DELETED", annotations=[{"id": 1}])
    gone = [around(each, "my card") for each in processes]

    assert first == [[Example(1, "my card", {"intent": ("other",)})]] * 2
    assert changed == [[Example(1, "my card", {"intent": ("refund",)})]] * 2
    assert gone == [Around(examples=[], near=[], same={})] * 2


def test_what_people_say_of_the_same_text_counts_until_one_disagrees(backend: Backend, reviews: Reviews) -> None:
    for number in (1, 2):
        backend.event("ANNOTATION_CREATED", annotation=annotation(number, "other"), task=task(number, "My card"))
    agreed = around(reviews, "my card")
    backend.event("ANNOTATION_CREATED", annotation=annotation(3, "refund"), task=task(3, "my  card"))
    disputed = around(reviews, "my card")
    backend.event("TASKS_DELETED", tasks=[{"id": 3}])

    assert (agreed.same, len(agreed.examples)) == ({"intent": (("other",), 2)}, 1)
    assert (disputed.same, disputed.examples, len(disputed.near)) == ({}, [], 3)
    assert around(reviews, "my card") == agreed


def test_two_people_are_tied_until_one_is_the_truth(backend: Backend, reviews: Reviews) -> None:
    first, second = annotation(1, "other"), annotation(2, "refund", completed_by=2)
    backend.work.projects.withhold(REF, [1])
    for each in (first, second):
        backend.event("ANNOTATION_CREATED", annotation=each, task=task(1, "my card"))
    tied = examples(reviews, "a card")
    agreement = reviews.agreement(REF, [INTENT])
    truth = {**second, "ground_truth": True, **LATER}
    backend.event("ANNOTATION_UPDATED", annotation=truth, task=task(1, "my card"))

    assert tied == []
    assert agreement == {"intent": Agreement(share=0.0, tasks=1)}
    assert examples(reviews, "a card") == [Example(1, "my card", {"intent": ("refund",)})]


def test_a_corrected_prediction_goes_before_one_that_stood(backend: Backend, reviews: Reviews) -> None:
    backend.predict(task(1, "refund for my card"), task(2, "refund for my cart"))
    for number, text, label in ((1, "refund for my card", "refund"), (2, "refund for my cart", "shipping")):
        backend.event("ANNOTATION_CREATED", annotation=annotation(number, label), task=task(number, text))

    assert [example.task_id for example in examples(reviews, "refund for my card, please")] == [2, 1]
    assert [example.task_id for example, _ in around(reviews, "refund for my card, please").near] == [1, 2]


def test_only_what_was_labelled_blind_is_evidence(backend: Backend, reviews: Reviews) -> None:
    backend.work.projects.withhold(REF, [1, 2])
    for number, origin in ((1, "manual"), (2, "prediction-changed"), (3, "manual")):
        event = annotation(number, "other", origin, parent_prediction=5)
        backend.event("ANNOTATION_CREATED", annotation=event, task=task(number, f"ticket {number}"))

    assert reviews.blind(REF, [INTENT]) == {1: Blind(1, "ticket 1", {"intent": ("other",)})}


def test_evidence_is_judged_by_what_was_learned_from_others(backend: Backend, reviews: Reviews) -> None:
    lie = Annotation(
        999, 999, "give me my money back now", {"intent": ("other",)}, LabelSource.PERSON_BLIND, 1.0, author=1
    )
    backend.work.annotations.put(REF, [*made(60), lie])

    found = reviews.cross_fitted(REF, [INTENT], reviews.blind(REF, [INTENT]).keys())

    assert list(found) == [999]
    assert found[999]["intent"].labels == ("refund",)


def test_the_weak_model_learns_each_of_a_few_reviews(backend: Backend, reviews: Reviews) -> None:
    backend.work.annotations.put(REF, made(40))
    before = guesses(reviews, ["thanks a lot"])
    backend.event("ANNOTATION_CREATED", annotation=annotation(900, "other"), task=task(900, "thanks a lot"))

    after = guesses(reviews, ["thanks a lot"])

    likely = [found[0]["intent"].probabilities["other"] for found in (before, after)]
    assert likely[1] > likely[0]


def test_of_many_reviews_the_weak_model_waits_for_a_tenth_more(backend: Backend, reviews: Reviews) -> None:
    store = backend.work.annotations
    store.put(REF, made(120))
    first = reviews.weak(REF, [INTENT], patiently=True)
    store.put(REF, made(11, first=500))
    store.delete(REF, [500])
    with_ten_more = reviews.weak(REF, [INTENT], patiently=True)
    store.put(REF, made(2, first=600))

    assert with_ten_more is first
    assert reviews.weak(REF, [INTENT], patiently=True) is not first


def test_a_weak_model_of_nothing_says_what_it_lacks(backend: Backend, reviews: Reviews) -> None:
    backend.work.annotations.put(REF, made(30))
    guesses(reviews, ["my card"])
    backend.work.annotations.delete(REF, range(1, 31))

    model = reviews.weak(REF, [INTENT], patiently=False)

    assert model
    assert model.shortages == {"intent": "it needs 20 with at least 2 different answers and has 0 with 0"}


def test_while_redis_is_away_reviews_serve_on(start: Start) -> None:
    with ExitStack() as stack:
        backend = start(REDIS_URL=stack.enter_context(redis_server()).url)
        reviews = Reviews(backend.work.annotations)
        backend.work.annotations.put(REF, made(30))
        before = around(reviews, "my money"), guesses(reviews, ["my money"])
        stack.close()

        assert (around(reviews, "my money"), guesses(reviews, ["my money"])) == before
        assert around(Reviews(backend.work.annotations), "my money").near == []


def test_a_project_that_redis_has_forgotten_is_empty(backend: Backend, reviews: Reviews) -> None:
    store: Annotations = backend.work.annotations
    store.put(REF, made(30))
    around(reviews, "my card")
    backend.work.redis.flushall()
    store.put(REF, made(1, first=77))

    assert [example.task_id for example, _ in around(reviews, TEXTS["other"]).near] == [77]
