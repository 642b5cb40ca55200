"""A bulk run: a project's tasks without a prediction of the current version, labelled and imported, each once.

Tasks are listed page by page behind the last id and go the way of every ticket (``labeling``). Predictions are imported
in few large calls, since Label Studio counts the whole project at each. A run that is stopped at any point and started
again goes on with what still has no prediction. Read ``control`` for how it is started, paused and ended.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

from prelabel.bootstrap import Services
from prelabel.core.types import Abstained, Failed, Labeled, Outcome, Prediction, Usage
from prelabel.errors import InvalidPrediction, PrelabelError, StoreUnavailable
from prelabel.project import Project
from prelabel.runs.lease import Lease, LeaseLost, leased
from prelabel.runs.stopping import stopping
from prelabel.store.keys import ProjectRef
from prelabel.store.runs import ENDED, Run, now
from prelabel.studio import connect
from prelabel.studio.client import StudioClient
from prelabel.studio.predictions import batch_item

log = logging.getLogger(__name__)

PAGE = 500
"""Tasks read, asked about and counted at a time; what is not imported yet is asked again if a worker dies."""
ROWS_PER_IMPORT = 2000
"""Predictions in one import: each call costs seconds in a large project (26 s for 10,000 in five, 102 s in twenty)."""
PAGE_DEADLINE_S = 3600.0
LIVE_PAUSE_S = 2.0
"""Between looks at tasks that ``/predict`` answered a moment ago and Label Studio has not stored yet."""


class Stopped(PrelabelError):
    """The run cannot go on; the text says why and what to do."""


class Moved(Stopped):
    """The project's version is another one by now, so that only a new run can go on."""


class Interrupted(Exception):
    """Somebody has asked the run to pause or to end."""


def execute(work: Services, run_id: str) -> None:
    """Do a run, or what is left of it, unless another process is at it.

    Whatever goes wrong ends it as failed, with the reason; only where Redis is away is it left as it is, for a worker
    to take up.

    :raises StopWanted: the process is to stop; the run is left as it is, for the job is put back.
    """
    with leased(work.runs, run_id) as lease:
        if lease is None:
            log.info("run %s is being worked on elsewhere", run_id)
            return
        run = work.runs.get(run_id)
        if run.state in ENDED or run.state == "paused":
            return
        if not run.started_at:
            work.runs.update(run_id, started_at=now())
        work.runs.update(run_id, state="running")
        work.runs.take_back_unwritten(run_id)
        run = work.runs.get(run_id)
        try:
            _Bulk(work, run, lease).do()
        except Interrupted as asked:
            _interrupt(work, run_id, str(asked))
        except (LeaseLost, StoreUnavailable) as reason:
            log.warning("run %s is left to another worker: %r", run_id, reason)
        except PrelabelError as error:
            log.warning("run %s failed: %s", run_id, error)
            cure = "" if isinstance(error, Moved) else f". Then: python -m prelabel retry {run_id}"
            work.runs.end(run_id, "failed", f"{error}{cure}")
        except Exception:  # the last guard of the job: taken up again, it would fail again
            log.exception("run %s failed", run_id)
            work.runs.end(run_id, "failed", "prelabel itself failed; the worker's log says at what")
        else:
            work.runs.end(run_id, "succeeded")


def _interrupt(work: Services, run_id: str, wanted: str) -> None:
    if wanted == "cancel":
        work.runs.end(run_id, "canceled")
    else:
        work.runs.update(run_id, state="paused", wanted="")


class _Bulk:
    """One execution of a run."""

    def __init__(self, work: Services, run: Run, lease: Lease) -> None:
        self._work = work
        self._run = run
        self._lease = lease
        self._studio: StudioClient = work.studio()
        found = self._studio.project(run.options.project)
        self._ref = work.projects.resolve(ProjectRef(found.id, found.created_unix))
        if run.options.refresh and not run.model_version:
            work.projects.begin_generation(self._ref)
        self._project = self._open(found.label_config)
        if run.model_version and run.model_version != self._project.version:
            raise Moved("the project's version has moved since the run was started: start a new run")
        work.runs.update(run.id, model_version=self._project.version)
        self._left_alone: set[int] = set(work.runs.failed_tasks(run.id))
        self._deferred: set[int] = set()
        self._rows: list[dict[str, Any]] = []
        self._handled = run.done
        self._only_missing = run.options.only_missing or run.options.refresh

    def do(self) -> None:
        """:raises PrelabelError: why it cannot go on.

        :raises Interrupted: it is to pause or to end; what is done stays.
        """
        try:
            while self._read_once():
                self._write()
        finally:
            self._write()  # what is answered is not asked again
        self._count_deferred()
        self._remove_surplus()
        self._keep_step()

    def _read_once(self) -> bool:
        """Label what the project holds now; whether it is to be read again, since something was done or is awaited."""
        handled, awaited = self._handled, set[int]()
        for tasks in self._pages():
            self._check()
            awaited |= self._work.projects.live(self._ref, [task["id"] for task in tasks])
            self._label([task for task in tasks if task["id"] not in awaited])
        self._deferred |= awaited
        if awaited:
            self._wait()
        return bool(awaited) or self._handled > handled

    def _pages(self) -> Iterator[list[dict[str, Any]]]:
        """The tasks that still need a prediction, up to the limit."""
        after_id, limit = 0, self._run.options.limit
        wanted = self._project.version if self._only_missing else None
        while True:
            page = self._studio.tasks_without(self._ref.id, wanted, after_id=after_id, count=PAGE)
            if not page.tasks:
                return
            after_id = page.tasks[-1]["id"]
            tasks = [task for task in page.tasks if task["id"] not in self._left_alone]
            if limit is not None:
                tasks = tasks[: max(0, limit - self._handled)]
            self._work.runs.update(self._run.id, total=self._expected(page.total, len(page.tasks) - len(tasks)))
            if tasks:
                yield tasks
            elif limit is not None and self._handled >= limit:
                return

    def _expected(self, listed: int, out: int) -> int:
        """Tasks in all: those done, and those that the present listing still holds."""
        total = self._handled + len(self._deferred) + max(0, listed - out)
        limit = self._run.options.limit
        return total if limit is None else min(total, limit)

    def _check(self) -> None:
        """Whether the run may go on as it began."""
        stopping.require_none()
        self._lease.require()
        if wanted := self._work.runs.get(self._run.id).wanted:
            raise Interrupted(wanted)
        if self._open(self._studio.project(self._ref.id).label_config).version != self._project.version:
            raise Moved(
                "the label config or the prompt was changed while the run was on, so that the rest would be "
                "predicted under another version: start a new run"
            )

    def _label(self, tasks: Sequence[dict[str, Any]]) -> None:
        if not tasks:
            return
        usage = Usage()
        numbers = [task["id"] for task in tasks]
        withheld = self._work.projects.withheld(self._ref, numbers)
        with stopping.interruptible():
            outcomes = self._work.labeler.label_tasks(
                self._project, tasks, deadline_s=PAGE_DEADLINE_S, withheld=withheld, usage=usage
            )
        failed = {number: out for number, out in zip(numbers, outcomes, strict=True) if isinstance(out, Failed)}
        fatal = next((failure for failure in failed.values() if failure.fatal), None)
        self._deferred -= set(numbers)
        if fatal or len(failed) == len(tasks):
            failed_for = fatal or next(iter(failed.values()))
            self._collect({n: out for n, out in zip(numbers, outcomes, strict=True) if n not in failed}, usage)
            raise Stopped(failed_for.reason)
        self._collect(dict(zip(numbers, outcomes, strict=True)), usage)

    def _collect(self, outcomes: dict[int, Outcome], usage: Usage) -> None:
        """Count, and keep for the next import what is to be written."""
        said = {number: out for number, out in outcomes.items() if isinstance(out, Labeled | Abstained)}
        self._rows += [self._row(number, out) for number, out in said.items()]
        failed = {number: out.reason for number, out in outcomes.items() if isinstance(out, Failed)}
        self._left_alone |= outcomes.keys()
        self._work.runs.fail_tasks(self._run.id, failed)
        labeled = sum(isinstance(out, Labeled) for out in said.values())
        self._handled += len(outcomes)
        self._work.runs.count(
            self._run.id,
            usage,
            labeled=labeled,
            abstained=len(said) - labeled,
            failed=len(failed),
            withheld=len(outcomes) - len(said) - len(failed),
            unwritten_labeled=labeled,
            unwritten_abstained=len(said) - labeled,
        )
        if len(self._rows) >= ROWS_PER_IMPORT:
            self._write()

    def _row(self, task: int, outcome: Labeled | Abstained) -> dict[str, Any]:
        try:
            item = batch_item(outcome, self._project.config, self._project.version)
        except InvalidPrediction:
            log.exception("run %s: a prediction of ours is sent as an abstention", self._run.id)
            item = batch_item(Abstained("invalid"), self._project.config, self._project.version)
        return {"task": task, **item}

    def _write(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        self._lease.require()
        try:
            created = self._studio.import_predictions(self._ref.id, rows)
        except PrelabelError:
            self._work.runs.take_back_unwritten(self._run.id)
            raise
        self._work.runs.update(self._run.id, unwritten_labeled=0, unwritten_abstained=0)
        if created != len(rows):
            log.warning("run %s: Label Studio took %d of %d predictions", self._run.id, created, len(rows))
        version, labels = self._project.version, _labels_of
        said = {row["task"]: Prediction(labels(row), row["score"], version) for row in rows}
        self._work.projects.keep_predictions(self._ref, version, said)

    def _count_deferred(self) -> None:
        """Tasks that were answered live, and whose answers Label Studio has stored meanwhile."""
        self._work.runs.count(self._run.id, skipped=len(self._deferred))
        self._handled += len(self._deferred)
        self._work.runs.update(self._run.id, total=self._handled)

    def _remove_surplus(self) -> None:
        """Leave each task one prediction of this version, also where ``/predict`` was asked about it meanwhile.

        Label Studio may still be storing such an answer, so those tasks are looked at until it has, or is not going to.
        """
        settled: set[int] = set()
        while True:
            settled |= self._remove_present_surplus()
            awaited = sorted(self._left_alone - settled)
            if not self._work.projects.live(self._ref, awaited):
                return
            self._wait()

    def _wait(self) -> None:
        """For Label Studio to store what ``/predict`` has answered."""
        with stopping.interruptible():
            time.sleep(LIVE_PAUSE_S)
        self._lease.require()

    def _remove_present_surplus(self) -> set[int]:
        """The tasks of which one was removed.

        The oldest is kept, which a person may be looking at; after predicting anew under the same version the newest.
        """
        kept: dict[int, int] = {}
        settled: set[int] = set()
        again = not self._only_missing
        for row in self._studio.predictions(self._ref.id):
            if row.version != self._project.version:
                continue
            surplus = kept.get(row.task_id) if again else row.id if row.task_id in kept else None
            if again or row.task_id not in kept:
                kept[row.task_id] = row.id
            if surplus is not None:
                self._studio.delete_prediction(surplus)
                settled.add(row.task_id)
        return settled

    def _keep_step(self) -> None:
        """Importing moves no version, and Label Studio shows the scores of the project's version only."""
        state, version = self._project.state, self._project.version
        if state.backend_url:
            connect.sync_title(
                self._studio, self._ref.id, backend_url=state.backend_url, title=version, settings=self._work.settings
            )
        elif self._studio.project(self._ref.id).model_version != version and self._handled:
            self._studio.set_project_version(self._ref.id, version)

    def _open(self, label_config: str) -> Project:
        return self._work.service.open(self._ref, label_config)


def _labels_of(row: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """The labels of a prediction; what it says of them is none."""
    regions = [region for region in row["result"] if region["type"] == "choices"]
    return {region["from_name"]: tuple(region["value"]["choices"]) for region in regions}
