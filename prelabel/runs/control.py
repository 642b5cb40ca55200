"""Bulk runs from outside: started, paused, resumed, cancelled and retried, from the shell and over HTTP alike."""

import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from prelabel.bootstrap import Services
from prelabel.config import Method, Settings
from prelabel.errors import LLMHasNoBatches, RequestError
from prelabel.llm.batch_api import require_batches
from prelabel.llm.pricing import dearest
from prelabel.runs import leftovers
from prelabel.store.keys import ProjectRef
from prelabel.store.ledger import holder
from prelabel.store.run import COUNTERS, ENDED, Run, RunOptions

FORGET_WITHIN_S = 50.0
"""How long the tasks in hand may take when their project is to be forgotten; a dead worker's lease is over by then."""
LOOK_S = 0.2


def start(work: Services, options: RunOptions, method: Method | None = None) -> Run:
    """Queue a run.

    :param method: becomes the project's own ``LABELING_METHOD`` first, so that what is predicted one by one goes by it,
        too; a dry run only tells what it would take.
    :raises RunExists: the project has one going.
    :raises RequestError: its cost cannot be kept to, its provider has no Batch API, or there are no rules to go by.
    :raises StoreUnavailable: Redis is away.
    :raises StudioError: Label Studio does not tell of a project that nobody has met yet, and that is to have a method.
    """
    asks = options.refresh or options.validation or options.dry_run or options.mode == "batch"
    if options.rescore and (asks or method):
        raise RequestError(
            "rescore", "rescoring asks nothing, so it goes with no refresh, method, validation, batch or dry run"
        )
    if method == "rules" and not _settings(work, options.project).rules_file:
        raise RequestError("method", "rules would label nothing, since there are none: set RULES_FILE")
    if options.mode == "batch":
        _require_batches(work, options.project)
    if options.max_cost is not None:
        _require_prices(work, options.project, method)
    if options.dry_run:
        options, method = replace(options, method=method), None
    ref = _met(work, options.project) if method else None
    run = work.runs.create(options)
    if ref and method:  # before any worker opens it
        work.projects.set_settings(ref, {"LABELING_METHOD": method})
    _queue(work, run)
    return run


def pause(work: Services, run_id: str) -> Run:
    """Have a run stop for now, once the shards that are in hand are answered and written.

    :raises RequestError: it is over.
    """
    return work.runs.ask(run_id, "pause")


def cancel(work: Services, run_id: str) -> Run:
    """Have a run stop for good; what is done stays.

    :raises RequestError: it is over.
    """
    run = work.runs.ask(run_id, "cancel")
    is_batched = run.options.mode == "batch" and bool(run.started_at)
    if (run.wanted or is_batched) and not work.runs.is_worked_on(run_id):  # the provider may be at its batches
        _queue(work, run)
    return run


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
    for run in work.runs.all(project):
        if not leftovers.remove(work, run, within_s=latest - time.monotonic()):
            told = f"the batches of run {run.id} are being cancelled at the provider, which takes up to ten minutes"
            raise RequestError("run_state", f"{told}: forget the project again then", 409)
    work.runs.forget_project(project)  # first, since without its run a worker that was frozen keeps nothing more
    return work.projects.forget(project)


def take_up_abandoned(work: Services) -> None:
    """Queue the runs that nobody works on though they are not over, or that have tasks which nobody is at.

    Their worker was killed, or Redis has lost its queue. One that waits in the queue does so once.
    """
    for run in work.runs.going():
        if run.state in {"queued", "running"}:
            call_for_more(work, run)
    for run in work.runs.batching():
        if leftovers.is_due(run):
            _queue(work, run)


def bury(work: Services, pid: int) -> None:
    """A process of this machine has died: what it held of any run is anybody's."""
    for run in work.runs.going():
        if work.runs.ledger(run.id).free(holder(pid)):
            work.runs.tell(run.id, "worker died", "what it had not heard is asked again")
    take_up_abandoned(work)


def call_for_more(work: Services, run: Run) -> None:
    """Have one more worker take part in a run, if there is anything to do for it; it may call another in its turn."""
    if wants_more(work, run):
        _queue(work, run)


def wants_more(work: Services, run: Run) -> bool:
    """Whether there is anything to do in a run that nobody is at."""
    if run.is_resting:
        return False
    return not work.runs.is_worked_on(run.id) or bool(work.runs.ledger(run.id).free_shards())


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
        "answered": run.answered,
        "cost": run.cost,
        "cost_per_task": run.cost_per_task,
        "stages": stages(run),
        "evidence": run.evidence.get("tasks", 0),
        "is_calibrated": bool(run.evidence.get("tasks", 0)),
        "started_at": run.started_at or None,
        "finished_at": run.finished_at or None,
        "tasks_per_second": None if run.pace is None else round(run.pace, 2),
        "eta_seconds": run.eta_seconds,
        "model_version": run.model_version or None,
        "estimate": run.estimate,
        "mode": run.options.mode,
        "batches": batches(work, run),
        "errors": work.runs.errors(run.id),
        "history": work.runs.history(run.id),
    }


def stages(run: Run) -> list[dict[str, Any]]:
    """Each stage that has settled tasks: how many, their share, and how good it is on tasks that people labelled blind.

    An LLM's stages also tell their cost in US dollars, null if unknown.
    """
    settled = sum(run.stages.values())
    cost = {"escalation": run.escalation_cost}
    cost["llm"] = cost["ensemble"] = (run.cost or 0) - run.escalation_cost
    found = []
    for stage, count in run.stages.items():
        right, judged = run.evidence.get("stages", {}).get(stage, (0, 0))
        found.append(
            {
                "stage": stage,
                "tasks": count,
                "share": count / settled,
                "judged": judged,
                "accuracy": right / judged if judged else None,
                "cost": None if run.cost is None and stage in cost else cost.get(stage, 0.0),
            }
        )
    return found


def batches(work: Services, run: Run) -> dict[str, Any] | None:
    """What a run waits for at its provider, as it told when it was last asked; None if nothing is there."""
    if not (kept := work.runs.batches(run.id).all() if run.options.mode == "batch" else []):
        return None
    expire = [batch.expires_at for batch in kept if batch.expires_at]
    return {
        "count": len(kept),
        "requests": sum(batch.requests for batch in kept),
        "completed": sum(batch.answered for batch in kept),
        "expire_at": _iso(max(expire)) if expire else None,
        "next_look_at": _iso(run.poll_at) if run.poll_at else None,
    }


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _met(work: Services, project: int) -> ProjectRef:
    """The project as it is known to everybody else, also if this is the first that is heard of it.

    :raises StudioError: Label Studio does not tell.
    """
    ref = work.projects.resolve(ProjectRef(project))
    return ref if ref.created else ProjectRef(project, work.studio().project(project).created_unix)


def _settings(work: Services, project: int, method: Method | None = None) -> Settings:
    """:param method: is the project's by the time that they count."""
    own = work.projects.state(work.projects.resolve(ProjectRef(project))).settings
    return work.settings.with_overrides({**own, "LABELING_METHOD": method} if method else own)


def _require_batches(work: Services, project: int) -> None:
    """:raises RequestError: the provider is known to have no Batch API."""
    try:
        require_batches(_settings(work, project))
    except LLMHasNoBatches as error:
        raise RequestError("mode", str(error)) from error


def _require_prices(work: Services, project: int, method: Method | None) -> None:
    """:raises RequestError: what a model costs is not known that the run may ask."""
    settings = _settings(work, project, method)
    if settings.uses_llm and dearest(settings, 1, 1) is None:
        told = "the price of a model is not known, so no cost can be kept to: set LLM_PRICE_INPUT and LLM_PRICE_OUTPUT"
        raise RequestError("max_cost", told)
    if settings.uses_escalation and dearest(settings.escalated(), 1, 1) is None:
        told = "the price of ESCALATION_MODEL is not known, so no cost can be kept to: leave it empty"
        raise RequestError("max_cost", told)


def _queue(work: Services, run: Run) -> None:
    work.jobs.put_turn(ProjectRef(run.options.project), run.id)
