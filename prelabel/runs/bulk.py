"""A bulk run: a project's tasks without a prediction of the current version, labelled and imported, each once.

Tasks go the way of every ticket (``labeling``), a page at a time. A run that is stopped at any point and started again
goes on with what is left. Read ``remaining`` for which tasks those are, ``writing`` for how their predictions get into
Label Studio, ``sweep`` for what happens at the end, ``control`` for how a run is started, paused and ended.
"""

import logging
import time
from collections.abc import Sequence
from typing import Any

from prelabel.bootstrap import Services
from prelabel.core.types import Failed, Outcome, Usage
from prelabel.errors import PrelabelError, StoreRefuses, StoreUnavailable
from prelabel.project import Project
from prelabel.runs.lease import Lease, LeaseLost, leased
from prelabel.runs.remaining import Remaining
from prelabel.runs.stopping import stopping
from prelabel.runs.sweep import sweep
from prelabel.runs.writing import Writing, counted
from prelabel.store.keys import ProjectRef
from prelabel.store.runs import NoRun, Run
from prelabel.studio import connect
from prelabel.studio.client import StudioClient

log = logging.getLogger(__name__)

STUDIO_TIMEOUT_S = 600.0
"""For one answer of Label Studio's: an import into 55,000 tasks takes more than half a minute."""
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
    to take up. One that was forgotten is let go.

    :raises StopWanted: the process is to stop; the run is left as it is, for the job is put back.
    """
    with leased(work.runs, run_id) as lease:
        if lease is None:
            log.info("run %s is being worked on elsewhere", run_id)
            return
        try:
            while run := work.runs.begin(run_id):  # once more if what somebody has asked for was taken back
                _do(work, run, lease)
        except NoRun:
            log.info("run %s was forgotten", run_id)
        except StoreRefuses as error:  # it would refuse the next worker, too
            _fail(work, run_id, error)
        except (LeaseLost, StoreUnavailable) as reason:
            log.warning("run %s is left to another worker: %r", run_id, reason)


def _do(work: Services, run: Run, lease: Lease) -> None:
    """Do what is left of a run and end it, unless it is to pause or to be cancelled."""
    try:
        _Bulk(work, run, lease).do()
    except Interrupted:
        return
    except (LeaseLost, NoRun, StoreUnavailable):
        raise
    except PrelabelError as error:
        _fail(work, run.id, error)
    except Exception:  # the last guard of the job: taken up again, it would fail again
        log.exception("run %s failed", run.id)
        work.runs.end(run.id, "failed", "prelabel itself failed; the worker's log says at what")
    else:
        work.runs.end(run.id, "succeeded")


def _fail(work: Services, run_id: str, error: PrelabelError) -> None:
    log.warning("run %s failed: %s", run_id, error)
    cure = "" if isinstance(error, Moved) else f". Then: python -m prelabel retry {run_id}"
    work.runs.end(run_id, "failed", f"{error}{cure}")


class _Bulk:
    """One execution of a run."""

    def __init__(self, work: Services, run: Run, lease: Lease) -> None:
        self._work = work
        self._run = run
        self._lease = lease
        self._studio: StudioClient = work.studio(timeout_s=STUDIO_TIMEOUT_S)
        found = self._studio.project(run.options.project)
        self._ref = work.projects.resolve(ProjectRef(found.id, found.created_unix))
        if run.options.refresh and not run.model_version:
            work.projects.begin_generation(self._ref)
        self._project = self._open(found.label_config)
        if run.model_version and run.model_version != self._project.version:
            raise Moved("the project's version has moved since the run was started: start a new run")
        work.runs.update(run.id, model_version=self._project.version)
        self._remaining = Remaining(self._studio, work.runs, run, self._ref, self._project.version)
        self._writing = Writing(work, self._studio, run.id, self._project, lease=lease, remaining=self._remaining)

    def do(self) -> None:
        """:raises PrelabelError: why it cannot go on.

        :raises Interrupted: it is to pause or to end; what is done stays.
        """
        try:
            while self._read_once():
                self._writing.write()
        finally:
            self._writing.write()  # what is answered is not asked again
        self._remaining.count_deferred()
        self._sweep()
        self._keep_step()

    def _read_once(self) -> bool:
        """Label what the project holds now; whether it is to be read again, since something was done or is awaited."""
        handled, awaited = self._remaining.handled, set[int]()
        for tasks in self._remaining.pages():
            self._check()
            awaited |= self._work.projects.live(self._ref, [task["id"] for task in tasks])
            failure = self._label([task for task in tasks if task["id"] not in awaited])
            if not awaited:
                self._remaining.pass_page(tasks)
            if failure:
                raise Stopped(failure.reason)
            if self._writing.is_due:
                self._writing.write()
        self._remaining.deferred |= awaited
        if awaited:
            self._wait()
        return bool(awaited) or self._remaining.handled > handled

    def _check(self) -> None:
        """Whether the run may go on as it began."""
        stopping.require_none()
        self._lease.require()
        if self._work.runs.get(self._run.id).wanted:
            raise Interrupted
        if self._open(self._studio.project(self._ref.id).label_config).version != self._project.version:
            raise Moved(
                "the label config or the prompt was changed while the run was on, so that the rest would be "
                "predicted under another version: start a new run"
            )

    def _label(self, tasks: Sequence[dict[str, Any]]) -> Failed | None:
        """Why no more tasks are to be tried, if that is so; what is answered is collected all the same."""
        if not tasks:
            return None
        usage = Usage()
        numbers = [task["id"] for task in tasks]
        withheld = self._work.projects.withheld(self._ref, numbers)
        with stopping.interruptible():
            labeled = self._work.labeler.label_tasks(
                self._project, tasks, deadline_s=PAGE_DEADLINE_S, withheld=withheld, usage=usage
            )
        outcomes = dict(zip(numbers, labeled, strict=True))
        failures = [out for out in labeled if isinstance(out, Failed)]
        failure = next((each for each in failures if each.fatal), None)
        if len(failures) == len(tasks):
            failure = failure or failures[0]
        self._remaining.deferred -= outcomes.keys()
        if failure and not self._remaining.is_anew:  # they are found again by their having no prediction
            outcomes = {number: out for number, out in outcomes.items() if not isinstance(out, Failed)}
        self._collect(outcomes, usage)
        return failure

    def _collect(self, outcomes: dict[int, Outcome], usage: Usage) -> None:
        """Count, and keep for the next import what is to be written."""
        self._lease.require()
        rows = self._writing.rows(outcomes)
        failed = {task: out.reason for task, out in outcomes.items() if isinstance(out, Failed)}
        said = counted(rows)
        self._work.runs.count(
            self._run.id,
            usage,
            **said,
            failed=len(failed),
            withheld=len(outcomes) - len(rows) - len(failed),
            **{f"unwritten_{name}": count for name, count in said.items()},
        )
        self._work.runs.fail_tasks(self._run.id, failed)
        self._work.runs.retried(self._run.id, outcomes.keys() - {row["task"] for row in rows})
        self._writing.add(rows)
        self._remaining.settle(outcomes)

    def _sweep(self) -> None:
        sweep(
            self._studio,
            self._work.projects,
            self._ref,
            self._project.version,
            self._remaining.left_alone,
            keeps_newest=self._remaining.is_anew,
            wait=self._wait,
        )

    def _wait(self) -> None:
        """For Label Studio to store what ``/predict`` has answered."""
        with stopping.interruptible():
            time.sleep(LIVE_PAUSE_S)
        self._lease.require()

    def _keep_step(self) -> None:
        """Importing moves no version, and Label Studio shows the scores of the project's version only."""
        state, version = self._project.state, self._project.version
        if state.backend_url:
            connect.sync_title(
                self._studio, self._ref.id, backend_url=state.backend_url, title=version, settings=self._work.settings
            )
        elif self._studio.project(self._ref.id).model_version != version and self._remaining.handled:
            self._studio.set_project_version(self._ref.id, version)

    def _open(self, label_config: str) -> Project:
        return self._work.service.open(self._ref, label_config)
