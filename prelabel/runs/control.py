"""Bulk runs from outside: started, paused, resumed, cancelled and retried, from the shell and over HTTP alike."""

import time
from contextlib import suppress
from typing import Any

from prelabel.bootstrap import Services
from prelabel.errors import RequestError
from prelabel.store.keys import ProjectRef
from prelabel.store.runs import COUNTERS, ENDED, Run, RunOptions

FORGET_WITHIN_S = 50.0
"""How long the tasks in hand may take when their project is to be forgotten; a dead worker's lease is over by then."""
LOOK_S = 0.2


def start(work: Services, options: RunOptions) -> Run:
    """Queue a run.

    :raises RunExists: the project has one going.
    :raises StoreUnavailable: Redis is away.
    """
    run = work.runs.create(options)
    _queue(work, run)
    return run


def pause(work: Services, run_id: str) -> Run:
    """Have a run stop for now, after the tasks that it is at.

    :raises RequestError: it is over.
    """
    return work.runs.ask(run_id, "pause")


def cancel(work: Services, run_id: str) -> Run:
    """Have a run stop for good; what is done stays.

    :raises RequestError: it is over.
    """
    return work.runs.ask(run_id, "cancel")


def resume(work: Services, run_id: str) -> Run:
    """Let a paused run go on.

    :raises RequestError: it is not paused.
    """
    run = work.runs.resume(run_id)
    if not work.runs.is_worked_on(run_id) or run.state == "queued":
        _queue(work, run)
    return run


def retry(work: Services, run_id: str) -> Run:
    """Try a run's failed tasks again, and go on with what an ended run left undone.

    :raises RequestError: it is still going.
    """
    run = work.runs.get(run_id)
    if run.state not in ENDED:
        raise RequestError("run_state", f"run {run_id} is {run.state}: only an ended run can be retried", 409)
    work.runs.reopen(run_id)
    _queue(work, run)
    return work.runs.get(run_id)


def forget_project(work: Services, project: int, *, patience_s: float = FORGET_WITHIN_S) -> int:
    """Remove all that is kept of a project, once no worker is at it any more; returns how many keys that were.

    :raises RequestError: a worker has not stopped in time; the run is being cancelled, and nothing is removed.
    """
    for run in work.runs.going():
        if run.options.project == project:
            with suppress(RequestError):  # it has just ended
                cancel(work, run.id)
    latest = time.monotonic() + patience_s
    while at_work := [run.id for run in work.runs.all(project) if work.runs.is_worked_on(run.id)]:
        if time.monotonic() > latest:
            told = f"run {at_work[0]} is cancelled, but its worker is still at its last tasks"
            raise RequestError("run_state", f"{told}: forget the project again once the run is over", 409)
        time.sleep(LOOK_S)
    work.runs.forget_project(project)  # first, since without its run a worker that was frozen keeps nothing more
    return work.projects.forget(project)


def take_up_abandoned(work: Services) -> None:
    """Queue the runs that nobody works on though they are not over; one that waits in the queue does so once.

    Their worker was killed, or Redis has lost its queue.
    """
    for run in work.runs.going():
        if run.state in {"queued", "running"} and not work.runs.is_worked_on(run.id):
            _queue(work, run)


def describe(work: Services, run: Run) -> dict[str, Any]:
    """A run as it is shown to programs. Unknown figures are null, never 0."""
    return {
        "id": run.id,
        "project": run.options.project,
        "state": run.state,
        "message": run.message,
        "total": run.total,
        "done": run.done,
        **{name: run.counts[name] for name in COUNTERS},
        "cost": run.cost,
        "cost_per_task": run.cost_per_task,
        "started_at": run.started_at or None,
        "finished_at": run.finished_at or None,
        "eta_seconds": run.eta_seconds,
        "model_version": run.model_version or None,
        "errors": work.runs.errors(run.id),
    }


def _queue(work: Services, run: Run) -> None:
    work.jobs.put("bulk", ProjectRef(run.options.project), run.id)
