"""The pure parts of a bulk run: which predictions are too many."""

from prelabel.runs.sweep import surplus
from prelabel.studio.rows import TaskPrediction

PREDICTIONS = [
    TaskPrediction(1, 10, "v1"),
    TaskPrediction(2, 10, "v2"),
    TaskPrediction(3, 20, "v2"),
    TaskPrediction(4, 10, "v2"),
    TaskPrediction(5, 10, "v2"),
]


def test_of_a_tasks_predictions_the_oldest_is_kept() -> None:
    assert [row.id for row in surplus(PREDICTIONS, "v2", keeps_newest=False)] == [4, 5]


def test_after_predicting_anew_the_newest_is_kept() -> None:
    assert [row.id for row in surplus(PREDICTIONS, "v2", keeps_newest=True)] == [2, 4]
