"""A worker's figures to Redis, where the backend finds them: no worker listens anywhere, and each job has a process of
its own that is gone when it is done.

Every second while a job is done, and once more at its end, what has come since the last time is added to the sums of
all workers. A process that is killed takes the last second with it; while Redis is away, everything waits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from uuid import uuid4

from prelabel.errors import StoreUnavailable
from prelabel.metrics.measures import BACKENDS, Measures, name_of, samples_of
from prelabel.store.counts import Counts

EVERY_S = 1.0


class Reporting:
    """Tells of what this process counts."""

    def __init__(self, measures: Measures, counts: Counts) -> None:
        self._measures = measures
        self._counts = counts
        self._told: dict[str, float] = {}
        self._is_level_told = False

    @contextmanager
    def of_job(self) -> Iterator[None]:
        """While a job is done, in the process that does it."""
        over, process = Event(), uuid4().hex
        telling = Thread(target=self._keep_telling, args=(over, process), name="metrics", daemon=True)
        telling.start()
        try:
            yield
        finally:
            over.set()
            telling.join()
            self._tell(process, is_over=True)

    def _keep_telling(self, over: Event, process: str) -> None:
        while not over.wait(EVERY_S):
            self._tell(process)

    def _tell(self, process: str, *, is_over: bool = False) -> None:
        sums, levels = self._figures()
        told = self._told
        more = {name: value - told.get(name, 0) for name, value in sums.items() if value > told.get(name, 0)}
        if is_over:
            levels = {}
        if not more and not any(levels.values()) and not self._is_level_told:
            return
        try:
            self._counts.add(process, more, levels)
        except StoreUnavailable:  # the next time tells of it all; what is the matter, the job says
            return
        self._told, self._is_level_told = sums, any(levels.values())

    def _figures(self) -> tuple[dict[str, float], dict[str, float]]:
        """Sums and levels."""
        sums: dict[str, float] = {}
        levels: dict[str, float] = {}
        for family in self._measures.registry.collect():
            if family.name in BACKENDS:
                continue
            kept = levels if family.type == "gauge" else sums
            kept.update({name_of(each): each.value for each in samples_of(family)})
        return sums, levels
