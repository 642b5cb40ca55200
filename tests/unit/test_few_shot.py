"""Which reviewed tasks an LLM is shown: the nearest, corrected ones first, of few labels each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.types import Choices
from prelabel.quality.few_shot import CORRECTED, FEW_LABELS, PER_LABEL, FewShot
from prelabel.quality.reviews import Reviewed, review
from prelabel.quality.same_text import SameText
from tests.unit.reviewing import INTENT, TAGS, TONE, question, said

MANY_LABELS = [f"label {number}" for number in range(77)]
MANY = question(*MANY_LABELS)


@dataclass(frozen=True)
class Task:
    """A reviewed task, and how near it is."""

    cosine: float
    labels: Mapping[str, tuple[str, ...]]
    is_corrected: bool = False
    text: str = ""
    others: Sequence[Mapping[str, tuple[str, ...]]] = ()
    """What further people say of it."""


def task(cosine: float, label: str = "label 1", *, is_corrected: bool = False, text: str = "") -> Task:
    return Task(cosine, {"intent": (label,)}, is_corrected, text)


def chosen(tasks: Sequence[Task], count: int = 8, questions: Sequence[Choices] = (MANY,)) -> list[int]:
    """The places of the tasks that are shown. Each has a text of its own where it names none."""
    reviewed: list[Reviewed | None] = []
    for place, each in enumerate(tasks):
        people = [
            said(number=number, task_id=place, labels=labels, text=each.text or f"text {place}")
            for number, labels in enumerate([each.labels, *each.others])
        ]
        corrected = [said(number=-1, task_id=place, labels=each.labels, correction=True)] if each.is_corrected else []
        reviewed.append(review([*people, *corrected], questions))
    same = SameText(each for each in reviewed if each)
    shown = FewShot(questions, reviewed, same).choose(np.array([each.cosine for each in tasks]), count)
    return [example.task_id for example in shown]


def test_with_many_labels_the_nearest_are_shown_whatever_their_labels() -> None:
    assert chosen([task(0.3), task(0.9), task(0.0), task(0.5), task(0.6)], 3) == [1, 4, 3]


def test_a_corrected_task_goes_before_one_that_is_a_little_nearer() -> None:
    little, much = 0.5 * CORRECTED - 0.01, 0.5 * CORRECTED + 0.01

    assert chosen([task(little), task(0.5, is_corrected=True)], 1) == [1]
    assert chosen([task(much), task(0.5, is_corrected=True)], 1) == [0]


@pytest.mark.parametrize("count", [0, -1])
def test_none_wanted_is_none_shown(count: int) -> None:
    assert chosen([task(0.9)], count) == []
    assert chosen([task(0.9, "refund")], count, [INTENT]) == []


@pytest.mark.parametrize(("questions", "label"), [([MANY], "label 1"), ([INTENT], "refund")])
def test_of_several_tasks_with_the_same_text_one_is_shown(questions: list[Choices], label: str) -> None:
    copies = [task(0.9, label, text=text) for text in ("My card", "my card", "MY CARD", "my  card")]

    assert chosen([*copies, task(0.5, label), task(0.4, label)], 2, questions) == [0, 4]


def test_of_the_same_text_a_corrected_task_is_shown() -> None:
    plain = [task(0.9, text="my card") for _ in range(5)]

    assert chosen([*plain, task(0.9, is_corrected=True, text="my card")]) == [5]


@pytest.mark.parametrize(("questions", "labels"), [([MANY], ("label 1", "label 2")), ([INTENT], ("refund", "other"))])
def test_a_text_that_was_labelled_differently_is_not_shown_at_all(
    questions: list[Choices], labels: tuple[str, str]
) -> None:
    first, second = labels
    disputed = [task(0.9, first, text="my card"), task(0.8, second, text="My card"), task(0.7, first, text="my card")]

    assert chosen([*disputed, task(0.2, first)], 8, questions) == [3]


def test_a_text_about_which_people_are_tied_is_not_shown_though_others_agree() -> None:
    tied = Task(0.9, {"intent": ("label 1",)}, text="my card", others=[{"intent": ("label 2",)}])

    assert chosen([tied, task(0.8, text="my card"), task(0.2)]) == [2]


def test_nor_is_a_text_about_which_people_are_tied_on_a_control_that_others_left_open() -> None:
    tied = Task(0.9, {"intent": ("label 1",), "tone": ("kind",)}, text="my card")
    tied = replace(tied, others=[{**tied.labels, "tone": ("cross",)}])

    assert chosen([tied, task(0.8, text="my card"), task(0.2)], 8, [MANY, TONE]) == [2]


def test_one_control_that_differs_is_a_text_labelled_differently() -> None:
    both = [Task(0.9, {"intent": ("label 1",), "tags": tags}, text="my card") for tags in (("vip",), ("vip", "angry"))]

    assert chosen([*both, task(0.2)], 8, [MANY, TAGS]) == [2]


def test_of_few_labels_each_is_shown_once_the_nearest_first_and_then_a_second_time() -> None:
    refunds = [task(0.9 - place / 100, "refund") for place in range(20)]

    assert chosen([*refunds, task(0.1, "other"), task(0.05, "other"), task(0.2, "shipping")], 8, [INTENT]) == [
        *(0, 22, 20),
        *(1, 21),
    ]


def test_a_rare_label_among_thousands_is_found() -> None:
    common = [task(0.9, "refund")] * 3000

    assert 3000 in chosen([*common, task(0.01, "other")], 2, [INTENT])


def test_of_few_labels_no_more_are_shown_than_asked() -> None:
    assert chosen([task(0.5, "refund"), task(0.6, "other"), task(0.7, "shipping")], 2, [INTENT]) == [2, 1]


def test_what_is_not_alike_at_all_is_no_example_of_a_label_either() -> None:
    assert chosen([task(0.5, "refund"), task(0.0, "other")], 8, [INTENT]) == [0]


def test_a_corrected_task_is_its_labels_first_example() -> None:
    assert chosen([task(0.5, "refund"), task(0.45, "refund", is_corrected=True)], 1, [INTENT]) == [1]


def test_the_labels_of_all_questions_are_shown() -> None:
    tasks = [
        Task(0.9, {"intent": ("refund",), "tone": ("kind",)}),
        Task(0.8, {"intent": ("refund",), "tone": ("kind",)}),
        Task(0.7, {"intent": ("refund",), "tone": ("kind",)}),
        Task(0.2, {"intent": ("refund",), "tone": ("cross",)}),
        Task(0.1, {"intent": ("other",), "tone": ("kind",)}),
    ]

    assert chosen(tasks, 3, [INTENT, TONE]) == [0, 3, 4]


def test_all_labels_of_a_multiple_choice_are_shown_and_that_none_fits() -> None:
    tasks = [
        Task(0.9, {"intent": ("refund",), "tags": ("vip", "angry")}),
        Task(0.8, {"intent": ("refund",), "tags": ("vip",)}),
        Task(0.3, {"intent": ("refund",)}),
        Task(0.7, {"intent": ("refund",), "tags": ("vip",)}),
    ]

    assert chosen(tasks, 8, [question("refund"), TAGS]) == [0, 2, 1]


@pytest.mark.parametrize(
    ("questions", "places"),
    [
        pytest.param([question(*MANY_LABELS[:FEW_LABELS])], [0, 4], id="few"),
        pytest.param([question(*MANY_LABELS[: FEW_LABELS + 1])], [0, 1], id="one more"),
        pytest.param([INTENT, question(*MANY_LABELS, name="topic")], [0, 1], id="few of one question"),
    ],
)
def test_few_are_five_of_each_question(questions: list[Choices], places: list[int]) -> None:
    labels = questions[0].labels
    nearer = [task(0.9 - place / 100, labels[0].value) for place in range(4)]

    assert chosen([*nearer, task(0.1, labels[1].value)], 2, questions) == places


CONTROLS = st.fixed_dictionaries(
    {
        "intent": st.sampled_from([("refund",), ("other",), ("shipping",)]),
        "tags": st.sampled_from([(), ("vip",), ("vip", "angry")]),
    }
)
TASKS = st.lists(
    st.builds(Task, st.floats(0, 1), CONTROLS, st.booleans(), st.sampled_from(["", "", "my card", "a parcel"])),
    max_size=25,
)


@given(TASKS, st.integers(0, 10), st.booleans())
def test_never_too_many_never_one_text_twice_never_one_that_differs(
    tasks: list[Task], count: int, is_few: bool
) -> None:
    questions = [INTENT, TAGS] if is_few else [INTENT, TAGS, MANY]
    found = chosen(tasks, count, questions)

    texts = [tasks[place].text or str(place) for place in found]
    assert len(found) <= count
    assert len(set(texts)) == len(texts)
    for place in found:
        same = [each for each in tasks if each.text and each.text == tasks[place].text]
        assert all({*map(str, each.labels.items())} == {*map(str, tasks[place].labels.items())} for each in same)
        assert tasks[place].cosine > 0


@given(st.lists(st.tuples(st.floats(0.01, 1), st.sampled_from(["refund", "other", "shipping"])), max_size=30))
def test_with_room_for_all_every_label_is_shown_its_nearest_and_none_thrice(found: list[tuple[float, str]]) -> None:
    tasks = [task(cosine, label) for cosine, label in found]

    shown = [found[place][1] for place in chosen(tasks, 8, [INTENT])]

    for label in ("refund", "other", "shipping"):
        there = sum(each == label for _, each in found)
        assert shown.count(label) == min(PER_LABEL, there)
    assert len(set(shown[: len(set(shown))])) == len(set(shown))
