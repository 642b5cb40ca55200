"""Tasks that ``/predict`` did not reach in time, put on a bulk run of their own where ``PREDICT_OVERFLOW`` says so.

While the project has a run going, which may be paused, limited or about other tasks, they wait for its end: the worker
that ends it calls :meth:`Overflow.begin`.
"""

import logging
from collections.abc import Sequence

from prelabel.errors import PrelabelError
from prelabel.store.jobs import JobQueue
from prelabel.store.keys import ProjectRef
from prelabel.store.projects import Projects
from prelabel.store.run import RunOptions
from prelabel.store.runs import RunExists, Runs

log = logging.getLogger(__name__)


class Overflow:
    """One a process."""

    def __init__(self, runs: Runs, jobs: JobQueue, projects: Projects) -> None:
        self._runs = runs
        self._jobs = jobs
        self._projects = projects

    def take(self, ref: ProjectRef, tasks: Sequence[int]) -> None:
        """Have a worker label these. Where that cannot be, Label Studio may still ask again: nothing is raised."""
        try:
            ref = self._projects.resolve(ref)
            self._projects.keep_late(ref, tasks)  # first: a run that ends from now on is followed by one about them
            self.begin(ref)
        except PrelabelError as error:
            log.warning("project %s: %d tasks that were not reached have no run: %s", ref.id, len(tasks), error)

    def begin(self, ref: ProjectRef) -> None:
        """Begin a run about the tasks that wait for one, if there are any and the project has none going.

        :raises StoreUnavailable: Redis is away.
        """
        if not (tasks := self._projects.late(ref)):
            return
        try:
            run = self._runs.create(RunOptions(ref.id), tasks)
        except RunExists as error:
            log.info("project %s: %d tasks that were not reached wait for run %s", ref.id, len(tasks), error.run_id)
            return
        self._projects.drop_late(ref, tasks)
        self._jobs.put_turn(ref, run.id)
        log.info("project %s: %d tasks that were not reached are put on run %s", ref.id, len(tasks), run.id)
