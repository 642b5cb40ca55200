"""What a bulk run keeps of the predictions that it has written."""

import pytest

from prelabel.runs.writing import MOST_ROWS, is_due


@pytest.mark.parametrize(
    ("answered", "since_s", "import_s", "left_s", "due"),
    [
        (MOST_ROWS, 0, 60, 1, True),  # what a worker's memory is to hold
        (5000, 30, 6, 60, True),
        (5000, 11, 6, 60, False),  # Label Studio has just taken one
        (5000, 30, 6, 8, False),  # the last one would have to wait for it
        (5000, 25, 0, None, True),  # the first, whose cost is not known
        (300, 15, 0.1, 60, False),
        (300, 25, 0.1, 60, True),  # somebody may wait for them
        (300, 25, 6, 60, False),
        (0, 1000, 0.1, 60, False),
    ],
)
def test_an_import_is_due_where_it_pays(
    answered: int, since_s: float, import_s: float, left_s: float | None, due: bool
) -> None:
    assert is_due(answered, since_s=since_s, import_s=import_s, left_s=left_s) is due
