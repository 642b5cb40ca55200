"""What is too much at the end of a bulk run: each task is to keep one prediction of the run's version, or none.

There are more where ``/predict`` was asked about a task meanwhile, where an import was interrupted, and where a run
predicts anew what has a prediction. A task that the run withholds may have got one that ``/predict`` was about to give
when it was drawn.
"""

from collections.abc import Callable, Iterable

from prelabel.runs.opened import OpenRun
from prelabel.studio.rows import TaskPrediction

LIVE_PAUSE_S = 2.0
"""Between looks at tasks that ``/predict`` answered a moment ago and Label Studio has not stored yet."""


def surplus(predictions: Iterable[TaskPrediction], version: str, *, keeps_newest: bool) -> list[TaskPrediction]:
    """Those of ``version`` that are not their task's one.

    :param predictions: by id.
    :param keeps_newest: else the oldest is kept, which a person may be looking at.
    """
    kept: dict[int, TaskPrediction] = {}
    found: list[TaskPrediction] = []
    for row in predictions:
        if row.version != version:
            continue
        if row.task_id not in kept:
            kept[row.task_id] = row
        elif keeps_newest:
            found.append(kept[row.task_id])
            kept[row.task_id] = row
        else:
            found.append(row)
    return found


def sweep(run: OpenRun, *, wait: Callable[[], None] | None = None) -> None:
    """Remove the surplus predictions of a run's project, and what is shown of the tasks that the run withholds.

    Label Studio may still be storing what ``/predict`` said of the run's tasks, so these are looked at until it has, or
    is not going to.

    :param wait: passes the time in between; without it, it is looked once.
    """
    projects, ref = run.work.projects, run.ref
    tasks = run.ledger.handled(projects.live_tasks(ref))
    withheld = projects.withheld(ref, run.ledger.drawn())
    settled: set[int] = set()
    while True:
        if run.studio.has_surplus(ref.id, run.version):
            for page in run.studio.multiple_predictions(ref.id, run.version):
                for row in surplus(page, run.version, keeps_newest=run.options.is_anew and not run.options.rescore):
                    run.studio.delete_prediction(row.id)
                    settled.add(row.task_id)
        settled |= run.studio.drop_predictions(ref.id, withheld, keeps_empty=True)
        withheld &= tasks
        if wait is None or not projects.live(ref, sorted(tasks - settled)):
            return
        wait()
