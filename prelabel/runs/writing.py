"""What a bulk run has answered, on its way into Label Studio: in few large imports, each counted once it is done.

Label Studio takes an import whole or not at all, so where a task was deleted meanwhile it is left out and the rest
imported again.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from prelabel.bootstrap import Services
from prelabel.core.types import Abstained, Labeled, Outcome, Prediction
from prelabel.errors import InvalidPrediction, PrelabelError, StudioError
from prelabel.project import Project
from prelabel.runs.lease import Lease
from prelabel.runs.remaining import Remaining
from prelabel.studio.client import StudioClient
from prelabel.studio.predictions import batch_item

log = logging.getLogger(__name__)

ROWS_PER_IMPORT = 2000
"""Predictions in one import: each call costs seconds in a large project (26 s for 10,000 in five, 102 s in twenty)."""

Row = dict[str, Any]
"""As Label Studio takes it."""


class Writing:
    """The answers of one execution of a run."""

    def __init__(
        self,
        work: Services,
        studio: StudioClient,
        run_id: str,
        project: Project,
        *,
        lease: Lease,
        remaining: Remaining,
    ) -> None:
        self._runs = work.runs
        self._projects = work.projects
        self._studio = studio
        self._run_id = run_id
        self._project = project
        self._lease = lease
        self._remaining = remaining
        self._rows: list[Row] = []

    @property
    def is_due(self) -> bool:
        return len(self._rows) >= ROWS_PER_IMPORT

    def rows(self, outcomes: Mapping[int, Outcome]) -> list[Row]:
        """Those outcomes that are predictions, by task."""
        return [self._row(task, out) for task, out in outcomes.items() if isinstance(out, Labeled | Abstained)]

    def add(self, rows: Sequence[Row]) -> None:
        """Keep for the next import what is counted as unwritten."""
        self._rows += rows

    def write(self) -> None:
        """Import what is answered, and keep the place up to which all is done.

        :raises NoRun: the run was forgotten, and its answers with it.
        """
        if not self._rows and not self._remaining.has_moved:
            return
        self._lease.require()
        self._runs.get(self._run_id)
        with self._remaining.writing() as place:
            rows, self._rows = self._rows, []
            written = self._import(rows) if rows else []
            self._runs.update(self._run_id, unwritten_labeled=0, unwritten_abstained=0, after_id=place)
        self._runs.retried(self._run_id, [row["task"] for row in rows])
        version = self._project.version
        said = {row["task"]: Prediction(labels_of(row), row["score"], version) for row in written}
        self._projects.keep_predictions(self._project.ref, version, said, run_id=self._run_id)

    def _import(self, rows: list[Row]) -> list[Row]:
        """The rows that Label Studio has taken: all but those of tasks that were deleted meanwhile."""
        try:
            try:
                created = self._studio.import_predictions(self._project.ref.id, rows)
            except StudioError as error:  # it takes all or nothing
                rows = self._of_present_tasks(rows, error)
                created = self._studio.import_predictions(self._project.ref.id, rows) if rows else 0
        except PrelabelError:
            self._runs.take_back_unwritten(self._run_id)
            raise
        if created != len(rows):
            log.warning("run %s: Label Studio took %d of %d predictions", self._run_id, created, len(rows))
        return rows

    def _of_present_tasks(self, rows: list[Row], refusal: StudioError) -> list[Row]:
        """The rows whose tasks there still are; the others count as skipped.

        :raises StudioError: ``refusal``, if it was not for tasks that are gone.
        """
        if refusal.status != 400:
            raise refusal
        present = self._studio.present_tasks(self._project.ref.id, [row["task"] for row in rows])
        gone = [row for row in rows if row["task"] not in present]
        if not gone:
            raise refusal
        log.info("run %s: %d tasks were deleted meanwhile", self._run_id, len(gone))
        less = {name: -count for name, count in counted(gone).items()}
        unwritten = {f"unwritten_{name}": count for name, count in less.items()}
        self._runs.count(self._run_id, **less, **unwritten, skipped=len(gone))
        return [row for row in rows if row["task"] in present]

    def _row(self, task: int, outcome: Labeled | Abstained) -> Row:
        try:
            item = batch_item(outcome, self._project.config, self._project.version)
        except InvalidPrediction:
            log.exception("run %s: a prediction of ours is sent as an abstention", self._run_id)
            item = batch_item(Abstained("invalid"), self._project.config, self._project.version)
        return {"task": task, **item}


def counted(rows: Sequence[Row]) -> dict[str, int]:
    """Rows by what Label Studio's users see of them."""
    labeled = sum(bool(row["result"]) for row in rows)
    return {"labeled": labeled, "abstained": len(rows) - labeled}


def labels_of(row: Row) -> dict[str, tuple[str, ...]]:
    """What a row chooses, by control; its texts are no labels."""
    chosen = [region for region in row["result"] if region["type"] == "choices"]
    return {region["from_name"]: tuple(region["value"]["choices"]) for region in chosen}
