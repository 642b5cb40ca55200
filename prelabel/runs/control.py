"""Bulk runs from outside: started, paused, resumed, cancelled and retried, from the shell and over HTTP alike."""

from typing import Any

from prelabel.bootstrap import Services
from prelabel.errors import RequestError
from prelabel.store.keys import ProjectRef
from prelabel.store.runs import COUNTERS, ENDED, Run, RunOptions


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
    return _ask(work, run_id, "pause")


def cancel(work: Services, run_id: str) -> Run:
    """Have a run stop for good; what is done stays.

    :raises RequestError: it is over.
    """
    run = _ask(work, run_id, "cancel")
    if run.state != "running" or not work.runs.is_worked_on(run_id):
        work.runs.end(run_id, "canceled")
    return work.runs.get(run_id)


def resume(work: Services, run_id: str) -> Run:
    """Let a paused run go on.

    :raises RequestError: it is not paused.
    """
    run = work.runs.get(run_id)
    if run.state != "paused" and run.wanted != "pause":
        raise RequestError("run_state", f"run {run_id} is {run.state}, not paused", 409)
    work.runs.update(run_id, wanted="")
    if run.state == "paused":
        work.runs.update(run_id, state="queued")
        _queue(work, run)
    return work.runs.get(run_id)


def retry(work: Services, run_id: str) -> Run:
    """Try a run's failed tasks again, and go on with what an ended run left undone.

    :raises RequestError: it is still going.
    """
    run = work.runs.get(run_id)
    if run.state not in ENDED:
        raise RequestError("run_state", f"run {run_id} is {run.state}: only an ended run can be retried", 409)
    work.runs.reopen(run_id)
    work.runs.forget_failures(run_id)
    _queue(work, run)
    return work.runs.get(run_id)


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


def _ask(work: Services, run_id: str, wanted: str) -> Run:
    run = work.runs.get(run_id)
    if run.state in ENDED:
        raise RequestError("run_state", f"run {run_id} is over: {run.state}", 409)
    if run.state == "running":
        work.runs.update(run_id, wanted=wanted)
    if wanted == "pause" and not work.runs.is_worked_on(run_id):
        work.runs.update(run_id, state="paused", wanted="")
    return work.runs.get(run_id)


def _queue(work: Services, run: Run) -> None:
    work.jobs.put("bulk", ProjectRef(run.options.project), run.id)
