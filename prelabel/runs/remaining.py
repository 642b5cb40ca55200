"""The tasks that a bulk run has still to label, page by page behind the last id.

A run that leaves alone what has a prediction of its version finds them in Label Studio alone, however often it is
interrupted. One that predicts them anew could not tell the old from its own, so it keeps its place: the id up to which
all is done, but for failed tasks that are to be tried again.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from prelabel.store.keys import ProjectRef
from prelabel.store.runs import Run, Runs
from prelabel.studio.client import StudioClient

PAGE = 500
"""Tasks read, asked about and counted at a time; what is not imported yet is asked again if a worker dies."""


class Remaining:
    """What is done of a run and what is not, as one execution of it knows.

    :param version: the version whose predictions are wanted.
    """

    def __init__(self, studio: StudioClient, runs: Runs, run: Run, ref: ProjectRef, version: str) -> None:
        self._studio = studio
        self._runs = runs
        self._run = run
        self._ref = ref
        self._version = version
        self.is_anew = not (run.options.only_missing or run.options.refresh)
        """Whether tasks that have a prediction of the version get another."""
        self._place = self._written_place = run.after_id
        self.handled = run.done
        self.left_alone: set[int] = set(runs.failed_tasks(run.id))
        self.deferred: set[int] = set()
        """Answered live, which Label Studio may still be storing."""

    def pages(self) -> Iterator[list[dict[str, Any]]]:
        """The tasks, up to the limit; each page is read when those before it are done."""
        if self.is_anew:
            yield from self._failed_before()
        wanted, after_id, limit = None if self.is_anew else self._version, self._place, self._run.options.limit
        while True:
            page = self._studio.tasks_without(self._ref.id, wanted, after_id=after_id, count=PAGE)
            if not page.tasks:
                return
            after_id = page.tasks[-1]["id"]
            tasks = self._within_limit(task for task in page.tasks if task["id"] not in self.left_alone)
            self._runs.update(self._run.id, total=self._expected(page.total, len(page.tasks) - len(tasks)))
            if tasks:
                yield tasks
            elif limit is not None and self.handled >= limit:
                return

    def settle(self, tasks: Iterable[int]) -> None:
        """These are done, well or badly, but for being written."""
        numbers = set(tasks)
        self.handled += len(numbers)
        self.left_alone |= numbers

    def pass_page(self, page: list[dict[str, Any]]) -> None:
        """A page and all before it is done, but for being written."""
        if self.is_anew:
            self._place = max(self._place, page[-1]["id"])

    @property
    def has_moved(self) -> bool:
        """Whether the place is further on than what is written."""
        return self._place > self._written_place

    @contextmanager
    def writing(self) -> Iterator[int]:
        """What is done is written in this block, and so is the place that it is given; if not, the place is as before.

        That is so too where the block is broken off by ``StopWanted``.
        """
        place, self._place = self._place, self._written_place
        yield place
        self._place = self._written_place = place

    def count_deferred(self) -> None:
        """Label Studio has stored meanwhile what was answered live, so these are left as they are."""
        self._runs.count(self._run.id, skipped=len(self.deferred))
        self.handled += len(self.deferred)
        self._runs.update(self._run.id, total=self.handled)

    def _failed_before(self) -> Iterator[list[dict[str, Any]]]:
        """The tasks that failed on the way to the place and are to be tried again."""
        failed = {task for task in self._runs.to_retry(self._run.id) if task <= self._place} - self.left_alone
        while failed:
            page = self._studio.tasks_without(self._ref.id, None, after_id=min(failed) - 1, count=PAGE)
            tasks = self._within_limit(task for task in page.tasks if task["id"] in failed)
            if not page.tasks:
                return
            if tasks:
                yield tasks
            failed = {task for task in failed if task > page.tasks[-1]["id"]}

    def _within_limit(self, tasks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        limit = self._run.options.limit
        return list(tasks) if limit is None else list(tasks)[: max(0, limit - self.handled)]

    def _expected(self, listed: int, out: int) -> int:
        """Tasks in all: those done, and those that the present listing still holds."""
        total = self.handled + len(self.deferred) + max(0, listed - out)
        limit = self._run.options.limit
        return total if limit is None else min(total, limit)
