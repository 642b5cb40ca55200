"""What a run learns before it labels: what LLMs say of withheld tasks, and how scores are made of that."""

import json
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import replace

from prelabel.core.types import Usage
from prelabel.project import Project
from prelabel.quality.calibrator import MIN_EVIDENCE
from prelabel.runs.crew import Halted
from prelabel.runs.gate import RunGate, Spent
from prelabel.runs.opened import Moved, OpenRun, Stopped
from prelabel.runs.shard import LATER_S, Intake
from prelabel.store.ledger import Claim

log = logging.getLogger(__name__)


def learn(run: OpenRun, claim: Claim, goes_on: Callable[[], bool]) -> OpenRun:
    """The run with what its scores are made by, which stays as long as the project's version does.

    Predictions of a version that are there already keep their scores, so nothing new is learned beside them but by a
    run that scores all of them anew.

    :param claim: the part of the run that learns.
    :raises Stopped: it is to score anew, and there is no evidence by which; or it cannot ask.
    :raises Moved: the project's version is another one by now.
    :raises Halted: nothing more is to be begun.
    """
    options, project = run.options, run.project
    is_new = options.refresh or not run.work.projects.count_predicted(run.ref, run.version)
    if options.dry_run:
        project = _would_be_fitted(run) if is_new else project
    else:
        was_unheard = run.work.evidence.unheard(project)
        if not options.rescore:
            seal(run, claim, run.work.projects.all_withheld(run.ref), goes_on)
        if options.rescore or is_new:
            project = _fitted(run)
        elif not project.scoring.evidence or was_unheard:
            _tell_what_waits(run)
    stages: dict[str, list[int]] = {}
    for learned in project.scoring.controls.values():
        for stage, tally in learned.stages.items():
            right, judged = stages.get(stage, [0, 0])
            stages[stage] = [right + tally.right, judged + tally.judged]
    run.update(evidence=json.dumps({"tasks": project.scoring.evidence, "stages": stages}))
    return replace(run, project=project)


def _fitted(run: OpenRun) -> Project:
    """The run's project with what scores are made by from now on.

    :raises Stopped: see :func:`learn`.
    """
    evidence, project = run.work.evidence, run.project
    unheard = evidence.unheard(project)
    if run.options.rescore and unheard and evidence.count(project) - len(unheard) < MIN_EVIDENCE:
        raise Stopped(
            f"of {len(unheard)} tasks labelled blind the LLM has not been heard as it answers now, and rescoring "
            "asks nobody: first start a run without --rescore, which asks about them"
        )
    scoring = evidence.fit(project, run.studio)
    if scoring.evidence >= MIN_EVIDENCE:
        run.require_same_version()
        if not evidence.freeze(project, scoring):
            raise Moved("the project's version has moved since the run was started: start a new run")
        log.info("run %s: scores are made by %d tasks labelled blind", run.run_id, scoring.evidence)
        return replace(project, scoring=scoring)
    if run.options.rescore:
        raise Stopped(
            f"{scoring.evidence} tasks are labelled blind, and {MIN_EVIDENCE} are needed to score by: have "
            "more of those that a run has withheld (--validation) labelled"
        )
    return project


def _would_be_fitted(run: OpenRun) -> Project:
    """The run's project with what its scores would be made by, as far as is known; nothing of that is kept."""
    if run.work.evidence.count(run.project) < MIN_EVIDENCE:
        return run.project
    scoring = run.work.evidence.fit(run.project, run.studio)
    return replace(run.project, scoring=scoring) if scoring.evidence >= MIN_EVIDENCE else run.project


def _tell_what_waits(run: OpenRun) -> None:
    count = run.work.evidence.count(run.project)
    if count >= MIN_EVIDENCE:
        run.tell("evidence", f"{count} tasks labelled blind wait for 'run --project {run.ref.id} --rescore'")


def seal(run: OpenRun, claim: Claim, tasks: Collection[int], goes_on: Callable[[], bool]) -> None:
    """Ask about those of ``tasks`` that nobody has asked about yet; the answers are shown to nobody.

    :raises Stopped: every other task would fail the same way, or there is no money left.
    :raises Halted: nothing more is to be begun; who goes on asks about the rest.
    """
    while (lacking := run.work.evidence.lacking(run.project, tasks)) and _seal(run, claim, lacking, goes_on):
        time.sleep(LATER_S)


def _seal(run: OpenRun, claim: Claim, tasks: Collection[int], goes_on: Callable[[], bool]) -> bool:
    """Whether to ask about the rest in a moment, when money is free again that is reserved."""
    usage, gate = Usage(), RunGate(run, claim, goes_on)
    intake = Intake(run.ledger, claim, usage, gate)
    found = run.studio.tasks(run.ref.id, tasks)
    failed = run.work.evidence.seal(run.project, found, usage, gate.of, on_sealed=lambda: intake.add([]))
    intake.close()
    if gate.is_halted:
        raise Halted
    if gate.refused in {"no", "unknown"}:
        raise Spent.of(run.options.max_cost, is_known=gate.refused == "no")
    if fatal := next((failure for failure in failed if failure.fatal), None):
        raise Stopped(fatal.reason)
    if failed and not gate.refused:
        run.tell("evidence", f"of {len(failed)} withheld tasks an LLM was not heard: {failed[0].reason}")
    return bool(gate.refused)
