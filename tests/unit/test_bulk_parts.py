"""The pure parts of a bulk run: which predictions are too many, and what a prediction says."""

from prelabel.runs.sweep import surplus
from prelabel.runs.writing import labels_of
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


def test_only_what_was_chosen_is_a_label() -> None:
    chosen = {"from_name": "intent", "type": "choices", "value": {"choices": ["refund"]}}
    written = {"from_name": "response", "type": "textarea", "value": {"text": ["We are sorry."]}}

    assert labels_of({"task": 1, "result": [chosen, written]}) == {"intent": ("refund",)}
