"""What is too much at the end of a bulk run: each task is to keep one prediction of the run's version.

There are more where ``/predict`` was asked about a task meanwhile, where an import was interrupted, and where a run
predicts anew what has a prediction.
"""

from collections.abc import Callable, Collection, Iterable

from prelabel.store.keys import ProjectRef
from prelabel.store.projects import Projects
from prelabel.studio.client import StudioClient
from prelabel.studio.rows import TaskPrediction


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


def sweep(
    studio: StudioClient,
    projects: Projects,
    ref: ProjectRef,
    version: str,
    tasks: Collection[int],
    *,
    keeps_newest: bool,
    wait: Callable[[], None],
) -> None:
    """Remove the surplus predictions of a project.

    Label Studio may still be storing what ``/predict`` said of ``tasks``, so these are looked at until it has, or is
    not going to; ``wait`` passes the time in between.
    """
    settled: set[int] = set()
    while True:
        for row in surplus(studio.predictions(ref.id), version, keeps_newest=keeps_newest):
            studio.delete_prediction(row.id)
            settled.add(row.task_id)
        if not projects.live(ref, sorted(set(tasks) - settled)):
            return
        wait()
