"""What accuracy is measured by: blind labels, and what the weak model says that has not seen them."""

from itertools import cycle, islice

import pytest

from prelabel.core.types import Annotation, Example, LabelSource
from prelabel.quality.evidence import FOLDS, Blind, blind, cross_fitted
from prelabel.quality.weak_model import EmbeddedModel
from tests.unit.reviewing import INTENT, TAGS, TONE, said

BLIND = LabelSource.PERSON_BLIND
REFUND = ("I want my money back", "refund me please", "where is my refund", "give back the money")
SHIPPING = ("where is my parcel", "the parcel did not arrive", "track my delivery", "delivery is late")


def blind_labels(*annotations: Annotation) -> list[dict[str, tuple[str, ...]]]:
    """Of the one task that these are of."""
    return [dict(found.labels) for found in blind({100: annotations}, [INTENT, TAGS]).values()]


def test_only_tasks_that_somebody_labelled_blind_are_evidence() -> None:
    tasks = {1: [said("refund", 1, 1)], 2: [said("other", 2, 2, source=BLIND)], 3: [said(task_id=3, ground_truth=True)]}

    assert blind(tasks, [INTENT]) == {2: Blind(2, "my card", {"intent": ("other",)})}


def test_labels_given_after_a_suggestion_do_not_count_beside_blind_ones() -> None:
    swayed = [said("refund", number) for number in range(5)]

    assert blind_labels(*swayed, said("other", 9, source=BLIND)) == [{"intent": ("other",), "tags": ()}]


def test_ground_truth_wins_also_where_its_person_had_seen_a_suggestion() -> None:
    truth = said("refund", 1, ground_truth=True)

    assert blind_labels(truth, said("other", 2, source=BLIND), said("other", 3, source=BLIND)) == [
        {"intent": ("refund",), "tags": ()}
    ]


def test_blind_labels_that_are_tied_are_left_out_and_so_is_a_task_without_others() -> None:
    tied = [said("refund", 1, source=BLIND), said("other", 2, source=BLIND)]

    assert blind_labels(*tied) == [{"tags": ()}]
    assert blind({100: tied}, [INTENT]) == {}
    assert blind({100: [*tied, said("other", 3, source=BLIND)]}, [INTENT])[100].labels == {"intent": ("other",)}


def test_each_controls_labels_are_agreed_on_by_itself() -> None:
    both = {"intent": ("refund",), "tags": ("angry", "vip")}

    assert blind_labels(said(labels=both, source=BLIND)) == [{"intent": ("refund",), "tags": ("vip", "angry")}]
    assert blind({100: [said(labels=both, source=BLIND)]}, [TONE]) == {}


def test_evidence_has_the_tasks_newest_text() -> None:
    old = said("refund", 1, source=BLIND, text="an old text")

    assert blind({100: [said("refund", 2, text="a new text"), old]}, [INTENT])[100].text == "a new text"


def reviewed(count: int, *, apart: bool = True) -> dict[int, Example]:
    """As many refunds as shipments, in turn.

    :param apart: each with a text of its own.
    """
    pairs = zip(REFUND, SHIPPING, strict=True)
    in_turn = [each for refund, parcel in pairs for each in ((refund, "refund"), (parcel, "shipping"))]
    return {
        number: Example(number, f"{text} {number}" if apart else text, {"intent": (label,)})
        for number, (text, label) in enumerate(islice(cycle(in_turn), count), 1)
    }


def test_each_task_is_judged_by_a_model_of_all_others_but_its_fold() -> None:
    all_of_them = reviewed(60)
    tasks = sorted(all_of_them)[:20]

    found = cross_fitted([INTENT], list(all_of_them.values()), {task: all_of_them[task].text for task in tasks})

    assert sorted(found) == tasks
    for start in range(FOLDS):
        held_out = tasks[start::FOLDS]
        model = EmbeddedModel([INTENT], [each for task, each in all_of_them.items() if task not in held_out])
        alone = model.guess([all_of_them[task].text for task in held_out])
        assert [found[task] for task in held_out] == alone


def test_a_label_that_is_wrong_does_not_show_in_what_is_said_of_its_own_task() -> None:
    all_of_them = reviewed(40)
    wrong = {**all_of_them, 1: Example(1, all_of_them[1].text, {"intent": ("shipping",)})}

    [right, lied] = (cross_fitted([INTENT], list(each.values()), {1: each[1].text}) for each in (all_of_them, wrong))

    assert right == lied
    assert right[1]["intent"].probabilities["refund"] > 0.5


def test_no_task_with_the_same_text_is_learned_from_either() -> None:
    copies = reviewed(60, apart=False)
    others = [each for each in copies.values() if each.text != copies[1].text]

    found = cross_fitted([INTENT], list(copies.values()), {1: copies[1].text.upper()})

    assert [found[1]] == EmbeddedModel([INTENT], others).guess([copies[1].text.upper()])
    assert len(others) < len(copies) - 1


def test_a_task_whose_text_was_edited_is_not_learned_from_as_it_was() -> None:
    all_of_them = reviewed(40)
    others = [each for task, each in all_of_them.items() if task != 1]

    found = cross_fitted([INTENT], list(all_of_them.values()), {1: "give me a refund"})

    assert [found[1]] == EmbeddedModel([INTENT], others).guess(["give me a refund"])


def test_a_task_that_nobody_is_agreed_on_about_is_judged_too() -> None:
    all_of_them = reviewed(40)

    found = cross_fitted([INTENT], list(all_of_them.values()), {77: "give me a refund"})

    assert found[77]["intent"].probabilities["refund"] > 0.5


@pytest.mark.parametrize("count", [0, 1, 12])
def test_with_too_few_reviews_nothing_is_said(count: int) -> None:
    few = reviewed(count)

    found = cross_fitted([INTENT, TONE], list(few.values()), {task: few[task].text for task in few})

    assert found == {task: {} for task in few}


def test_a_control_with_too_few_reviews_is_missing() -> None:
    found = cross_fitted([INTENT, TONE], list(reviewed(40).values()), {1: REFUND[0]})

    assert [list(each) for each in found.values()] == [["intent"]]
