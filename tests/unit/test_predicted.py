"""What was predicted last for a task, as it is kept."""

from prelabel.core.types import Prediction
from prelabel.store.predicted import bucket, new_words, packed, unpacked

SAID = Prediction({"intent": ("Refund",), "tags": ("Refund", "urgent")}, 0.93, "gpt-1")
NUMBERS = {"gpt-1": 1, "intent": 2, "Refund": 3, "tags": 4, "urgent": 5}


def test_a_prediction_is_kept_by_the_numbers_of_its_words() -> None:
    text = packed(SAID, NUMBERS)

    assert text == "0.93,1,2,3,4,[3,5]"
    assert unpacked(text, {number: word for word, number in NUMBERS.items()}) == SAID


def test_one_that_was_kept_in_brackets_is_read() -> None:
    assert unpacked("[0.93,1,2,[3],4,[3,5]]", {number: word for word, number in NUMBERS.items()}) == SAID


def test_words_get_the_next_numbers_and_keep_them() -> None:
    assert new_words([SAID, SAID], {}) == NUMBERS
    assert new_words([SAID], {"gpt-1": "1", "intent": "2"}) == {"Refund": 3, "tags": 4, "urgent": 5}
    assert new_words([SAID], {word: str(number) for word, number in NUMBERS.items()}) == {}


def test_256_tasks_share_a_hash() -> None:
    assert [bucket(task) for task in (0, 255, 256, 511)] == [0, 0, 1, 1]
