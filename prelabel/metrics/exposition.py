"""All that is measured as Prometheus' text: what this backend's processes have counted, and what Redis knows.

The former are put together from the files of gunicorn's workers, where there are any. Redis knows what workers have
counted, which runs are going, and the queue. It is waited for a second at most; without it the rest comes all the same,
with ``prelabel_redis_up 0``.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.samples import Sample

from prelabel.errors import StoreUnavailable
from prelabel.metrics.measures import BACKENDS, WORKERS, Measures, name_of, samples_of
from prelabel.store.counts import Counts, Figures
from prelabel.store.jobs import JobQueue, Queued
from prelabel.store.run import GOING, OUTCOMES, Run
from prelabel.store.runs import Runs

log = logging.getLogger(__name__)

PATIENCE_S = 0.9
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
ROLE = "role"
"""The label that tells ``backend`` from ``worker`` where both count."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What Redis knows at one moment."""

    workers_counted: Figures
    going: list[Run]
    queue: Queued


class Exposition:
    """One a process; it may be made before a fork."""

    def __init__(self, measures: Measures, counts: Counts, runs: Runs, jobs: JobQueue) -> None:
        self._measures = measures
        self._counts = counts
        self._runs = runs
        self._jobs = jobs
        # Its thread may be stuck for longer than a socket's timeout, in looking for a name or in many slow answers.
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="metrics")

    def text(self) -> bytes:
        """In Prometheus' text format, version 0.0.4; never raises for want of Redis."""
        kept = self._in_time()
        return generate_latest(_Collected([*self._counted(kept), *_kept(kept)]))

    def _in_time(self) -> Kept | None:
        reading = self._aside.submit(self._read)
        try:
            return reading.result(PATIENCE_S)
        except (StoreUnavailable, TimeoutError) as error:
            reading.cancel()
            log.warning("metrics are without what Redis knows: %s", str(error) or f"no answer in {PATIENCE_S:g} s")
            return None

    def _read(self) -> Kept:
        """:raises StoreUnavailable: Redis is away."""
        return Kept(self._counts.read(), self._runs.going(), self._jobs.queued())

    def _counted(self, kept: Kept | None) -> Iterator[Metric]:
        """What is counted by this backend, and under the same names by workers."""
        for family in self._own():
            yield _with_workers(family, kept.workers_counted if kept else None)

    def _own(self) -> Iterable[Metric]:
        try:
            files: Any = MultiProcessCollector(None)  # type: ignore[no-untyped-call] # prometheus-client's has no types
            return sorted(files.collect(), key=lambda family: str(family.name))
        except ValueError:  # there is no directory: not under gunicorn
            return self._measures.registry.collect()


class _Collected:
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _with_workers(own: Metric, workers: Figures | None) -> Metric:
    """A family with the workers' figures beside the backend's own; of them only what this release knows."""
    family = Metric(own.name, own.documentation, own.type)
    samples = samples_of(own)
    is_of_both = own.name not in BACKENDS | WORKERS
    if own.name not in WORKERS:
        role = {ROLE: "backend"} if is_of_both else {}
        family.samples += [_labelled(each, role, each.value) for each in samples]
    if own.name not in BACKENDS and workers is not None:
        role = {ROLE: "worker"} if is_of_both else {}
        told = workers.levels if own.type == "gauge" else workers.sums
        family.samples += [_labelled(each, role, told.get(name_of(each), 0.0)) for each in samples]
    return family


def _labelled(sample: Sample, more: Mapping[str, str], value: float) -> Sample:
    return Sample(sample.name, {**sample.labels, **more}, value)


def _kept(kept: Kept | None) -> Iterator[Metric]:
    """What Redis knows beside the workers' figures."""
    yield GaugeMetricFamily("prelabel_redis_up", "Whether Redis has answered (1) or not (0).", value=float(bool(kept)))
    if kept is None:
        return
    yield _gauges("workers", "Workers that have been heard of lately.", "state", kept.queue.workers)
    yield _gauges("queue_jobs", "Jobs by where they are.", "state", kept.queue.jobs)
    states = [run.state for run in kept.going]
    yield _gauges("runs", "Bulk runs that are not over.", "state", {state: states.count(state) for state in GOING})
    yield from _progress(kept.going)


def _progress(runs: Iterable[Run]) -> Iterator[Metric]:
    """How far each project's run is; a project has one at most that is going."""
    labels = ["project", "outcome"]
    done = GaugeMetricFamily("prelabel_run_done_tasks", "Tasks of the project's run that are done.", labels=labels)
    answered = GaugeMetricFamily(
        "prelabel_run_answered_tasks",
        "Tasks of the project's run that are answered, and not in Label Studio yet.",
        labels=["project"],
    )
    planned = GaugeMetricFamily("prelabel_run_planned_tasks", "Tasks of the project's run.", labels=["project"])
    cost = GaugeMetricFamily(
        "prelabel_run_cost_dollars", "US dollars of the project's run, if all are known.", labels=["project"]
    )
    for run in runs:
        project = str(run.options.project)
        planned.add_metric([project], run.total)
        answered.add_metric([project], run.answered)
        for outcome in OUTCOMES:
            done.add_metric([project, outcome], run.counts[outcome])
        if run.cost is not None:
            cost.add_metric([project], run.cost)
    yield from (done, answered, planned, cost)


def _gauges(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"prelabel_{name}", about, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family
