"""A run with its project open: what all parts of a run work with, in one process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prelabel.bootstrap import Services
from prelabel.errors import PrelabelError
from prelabel.project import Project
from prelabel.runs.lease import Leases
from prelabel.store.keys import ProjectRef
from prelabel.store.ledger import PLAN, Claim, Ledger
from prelabel.store.run import Run, RunOptions
from prelabel.studio import connect
from prelabel.studio.client import StudioClient


class Stopped(PrelabelError):
    """The run cannot go on; the text says why and what to do."""


class Moved(Stopped):
    """The project's version is another one by now, so that only a new run can go on."""


@dataclass(frozen=True, slots=True)
class OpenRun:
    """:param studio: patient enough for a large import."""

    work: Services
    studio: StudioClient
    ledger: Ledger
    run_id: str
    options: RunOptions
    project: Project

    @property
    def ref(self) -> ProjectRef:
        return self.project.ref

    @property
    def version(self) -> str:
        """That of the run's predictions."""
        return self.project.version

    @property
    def lacking(self) -> str | None:
        """The version whose lack makes a task one of the run's; None if all tasks are."""
        return None if self.options.is_anew else self.version

    def now(self) -> Run:
        """How it stands.

        :raises NoRun: it was forgotten.
        """
        return self.work.runs.get(self.run_id)

    def update(self, **values: str | float) -> None:
        """Set some of its fields; see :class:`prelabel.store.run.Run`.

        :raises NoRun: it was forgotten.
        """
        self.work.runs.update(self.run_id, **values)

    def tell(self, what: str, why: str) -> None:
        """Note in its history what has happened.

        :raises NoRun: it was forgotten.
        """
        self.work.runs.tell(self.run_id, what, why)

    def present(self, waiting: Sequence[int]) -> tuple[list[dict[str, Any]], list[int]]:
        """The tasks as Label Studio has them, and the ids of those that are gone or have been predicted meanwhile.

        :param waiting: ids in order.
        """
        wanted = set(waiting)
        between = self.studio.tasks_between(self.ref.id, waiting[0], waiting[-1], without=self.lacking)
        tasks = [task for task in between if task["id"] in wanted]
        return tasks, sorted(wanted - {task["id"] for task in tasks})

    def require_same_version(self, studio: StudioClient | None = None) -> None:
        """
        :param studio: one of less patience.
        :raises Moved: the label config or the prompt is another one by now.
        """
        label_config = (studio or self.studio).project(self.ref.id).label_config
        if self.work.service.open(self.ref, label_config).version != self.version:
            raise Moved(
                "the label config or the prompt was changed while the run was on, so that the rest would be "
                "predicted under another version: start a new run"
            )

    def keep_step(self) -> None:
        """Give the project the run's version: an import gives it none, and only its scores are shown."""
        state = self.project.state
        if state.backend_url:
            connect.sync_title(
                self.studio,
                self.ref.id,
                backend_url=state.backend_url,
                title=self.version,
                settings=self.work.settings,
            )
        elif self.studio.project(self.ref.id).model_version != self.version and self.now().done:
            self.studio.set_project_version(self.ref.id, self.version)


def open_run(
    work: Services,
    studio: StudioClient,
    run_id: str,
    leases: Leases,
    *,
    wait: Callable[[], None],
    begin: Callable[["OpenRun", Claim], "OpenRun"] | None = None,
) -> OpenRun:
    """The run's project as it stands. Whoever opens it first also says which version the run is about.

    :param wait: passes a moment while somebody else is about to say.
    :param begin: is called by whoever opens it first, before anything else is done.
    :raises Moved: the project's version is not the run's any more.
    """
    run = work.runs.get(run_id)
    options = run.options
    found = studio.project(options.project)
    ref = work.projects.resolve(ProjectRef(found.id, found.created_unix))
    claim = None
    while not run.model_version and not (claim := leases.take(PLAN)):
        wait()
        run = work.runs.get(run_id)
    try:
        if claim:
            run = work.runs.get(run_id)
            if options.refresh and not options.dry_run and not run.model_version:
                _begin_generation(work, run, ref)
        project = work.service.open(ref, found.label_config, options.method)
        opened = OpenRun(work, studio, work.runs.ledger(run_id), run_id, options, project)
        if not run.model_version and claim:
            opened = begin(opened, claim) if begin else opened
            work.runs.update(run_id, model_version=project.version)
        elif run.model_version != project.version:
            raise Moved("the project's version has moved since the run was started: start a new run")
    finally:
        if claim:  # whoever tries again takes it anew
            leases.give_back(claim)
    return opened


def _begin_generation(work: Services, run: Run, ref: ProjectRef) -> None:
    """Once a run, however often it is opened: which one it begins is kept before it is begun."""
    number = run.generation or work.projects.state(ref).generation + 1
    work.runs.update(run.id, generation=number)
    work.projects.reach_generation(ref, number)
