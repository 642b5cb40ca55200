"""A file's reviewed rows: what stands around the others, and what is learned from them."""

from prelabel.core.types import Example, Ticket
from prelabel.files.examples import FileExamples
from prelabel.quality.surroundings import Around
from prelabel.store.keys import ProjectRef
from tests.unit.reviewing import INTENT, TAGS

FILE = ProjectRef(0, 0)


def row(number: int, text: str, label: str = "refund") -> Example:
    return Example(number, text, {"intent": (label,), "tags": ()})


def around(*rows: Example, text: str, count: int = 8) -> Around:
    [found] = FileExamples([INTENT, TAGS], rows).around(FILE, [INTENT, TAGS], [Ticket(99, text)], count)
    return found


def test_rows_are_examples_neighbours_and_say_what_the_same_text_is() -> None:
    card = row(1, "My card")

    found = around(card, row(2, "返金"), text="my card")

    assert found.examples == [card]
    assert [example for example, _ in found.near] == [card]
    assert found.same == {"intent": (("refund",), 1), "tags": ((), 1)}


def test_rows_with_the_same_text_and_other_labels_are_not_shown() -> None:
    found = around(row(1, "my card"), row(2, "my card", "other"), row(3, "a card"), text="card")

    assert [example.task_id for example in found.examples] == [3]


def test_in_an_evaluation_copies_are_left_out() -> None:
    source = FileExamples([INTENT], [row(1, "my card"), row(2, "the card")])

    [found] = source.around(FILE, [INTENT], [Ticket(99, "my card")], 8, is_evaluation=True)

    assert [example.task_id for example, _ in found.near] == [2]


def test_the_weak_model_is_fitted_once() -> None:
    rows = [row(number, f"text {number}", ["refund", "other"][number % 2]) for number in range(20)]
    source = FileExamples([INTENT], rows)

    model = source.weak(FILE, [INTENT], patiently=False)

    assert model.shortages == {}
    assert source.weak(FILE, [INTENT], patiently=True) is model
