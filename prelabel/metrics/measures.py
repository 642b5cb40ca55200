"""What one process counts of its own work, as Prometheus' counters, histograms and gauges.

Under gunicorn prometheus-client keeps them in files that its workers share (``directory``); elsewhere they are this
process's own. ``exposition`` shows them, ``reporting`` tells the backend of a worker's. Every label has a fixed set of
values, all there from the start: nothing here names a task, a project or a model, or repeats a caller's words.
"""

import json
from collections.abc import Mapping, Sequence
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from prelabel.core.kept import Answers
from prelabel.llm.exchange import ChatReply
from prelabel.llm.meter import Result
from prelabel.service import Asked, Said
from prelabel.studio.wiring import ACTIONS

PREDICT_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60)
LLM_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)
EVENTS = (*ACTIONS, "START_TRAINING")
OTHER_EVENT = "other"
RUN_OUTCOMES = ("labeled", "abstained", "withheld", "failed")

BACKENDS = frozenset({"prelabel_predict_seconds", "prelabel_predict_tasks", "prelabel_predict_declined"}) | {
    "prelabel_webhook_events"
}
"""Counted in the backend only, without ``_total``; all others in workers, too."""
WORKERS = frozenset({"prelabel_run_tasks"})
"""Counted in workers only."""


class Measures:
    """One a process. Of the packages below it is the :class:`prelabel.llm.meter.Meter` and the
    :class:`prelabel.service.Meter`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._predict_seconds = self._histogram(
            "predict_seconds", "Seconds that /predict took to answer.", PREDICT_BUCKETS_S, kind=get_args(Asked)
        )
        self._predict_tasks = self._counter(
            "predict_tasks", "Tasks in requests to /predict, by what came of them.", outcome=get_args(Said)
        )
        self._declined = self._counter("predict_declined", "Requests to /predict turned away: too many at once.")
        self._events = self._counter(
            "webhook_events", "Events of Label Studio's that got in.", action=(*EVENTS, OTHER_EVENT)
        )
        self._llm_requests = self._counter(
            "llm_requests", "Requests to LLMs, by how they ended.", result=get_args(Result)
        )
        self._llm_seconds = self._histogram(
            "llm_request_seconds", "Seconds until an LLM's server has answered or failed.", LLM_BUCKETS_S
        )
        self._in_flight = Gauge(
            "prelabel_llm_requests_in_flight",
            "Requests to LLMs that are under way.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._prompt_tokens = self._counter("llm_prompt_tokens", "Tokens sent, as the LLM's server counts them.")
        self._cached_tokens = self._counter("llm_cached_tokens", "Those of the tokens sent that were in its cache.")
        self._completion_tokens = self._counter("llm_completion_tokens", "Tokens received.")
        self._dollars = self._counter("llm_dollars", "US dollars, of the requests whose price is known.")
        self._unpriced = self._counter("llm_unpriced_requests", "Answered requests whose price is not known.")
        self._pauses = self._counter("llm_pauses", "Times that an LLM's server asked to be left alone.")
        self._pause_seconds = self._counter("llm_pause_seconds", "Seconds for which it did.")
        self._lookups = self._counter(
            "answer_cache_lookups", "Tickets looked up among the answers that are kept.", result=("hit", "miss")
        )
        self._run_tasks = self._counter("run_tasks", "Tasks that bulk runs have settled.", outcome=RUN_OUTCOMES)

    def predicted(self, asked: Asked, said: Mapping[Said, int], seconds: float) -> None:
        """A request to ``/predict`` was answered."""
        self._predict_seconds.labels(asked).observe(seconds)
        self._count_tasks(said)

    def declined(self, tasks: int) -> None:
        """A request to ``/predict`` was turned away, for there were too many at once."""
        self._declined.inc()
        self._count_tasks({"not_reached": tasks})

    def event(self, action: str) -> None:
        """One of Label Studio's events got in."""
        self._events.labels(action if action in EVENTS else OTHER_EVENT).inc()

    def begun(self) -> None:
        """A request to an LLM is in flight."""
        self._in_flight.inc()

    def ended(self, result: Result, seconds: float) -> None:
        """It is no more."""
        self._in_flight.dec()
        self._llm_requests.labels(result).inc()
        self._llm_seconds.observe(seconds)

    def answered(self, reply: ChatReply) -> None:
        """What a request to an LLM has used."""
        self._prompt_tokens.inc(reply.prompt_tokens)
        self._cached_tokens.inc(reply.cached_tokens)
        self._completion_tokens.inc(reply.completion_tokens)
        if reply.cost is None:
            self._unpriced.inc()
        else:
            self._dollars.inc(reply.cost)

    def paused(self, more_s: float, *, is_new: bool) -> None:
        """An LLM's server is to be left alone for so much longer."""
        self._pauses.inc(is_new)
        self._pause_seconds.inc(more_s)

    def looked_up(self, *, hits: int, misses: int) -> None:
        """Answers were looked for among those that are kept."""
        self._lookups.labels("hit").inc(hits)
        self._lookups.labels("miss").inc(misses)

    def settled(self, counts: Mapping[str, int]) -> None:
        """A bulk run has come so much further.

        :param counts: by some of ``RUN_OUTCOMES``.
        """
        for outcome, count in counts.items():
            self._run_tasks.labels(outcome).inc(count)

    def _count_tasks(self, said: Mapping[Said, int]) -> None:
        for outcome, count in said.items():
            self._predict_tasks.labels(outcome).inc(count)

    def _counter(self, name: str, about: str, **labels: Sequence[str]) -> Counter:
        made = Counter(f"prelabel_{name}", about, list(labels), registry=self.registry)
        for values in labels.values():
            for value in values:
                made.labels(value)
        return made

    def _histogram(self, name: str, about: str, buckets: Sequence[float], **labels: Sequence[str]) -> Histogram:
        made = Histogram(f"prelabel_{name}", about, list(labels), registry=self.registry, buckets=buckets)
        for values in labels.values():
            for value in values:
                made.labels(value)
        return made


def samples_of(family: Metric) -> list[Sample]:
    """Its figures, without the times at which prometheus-client began to count them."""
    return [sample for sample in family.samples if not sample.name.endswith("_created")]


def name_of(sample: Sample) -> str:
    """Names a figure in all processes and releases."""
    return json.dumps([sample.name, sample.labels], sort_keys=True)


class CountedAnswers:
    """A project's kept answers that count how often there is one."""

    def __init__(self, answers: Answers, measures: Measures) -> None:
        self._answers = answers
        self._measures = measures

    def recall(self, subjects: Sequence[str]) -> list[str | None]:
        found = self._answers.recall(subjects)
        misses = found.count(None)
        self._measures.looked_up(hits=len(found) - misses, misses=misses)
        return found

    def keep(self, answers: Mapping[str, str]) -> None:
        self._answers.keep(answers)

    def names(self, subjects: Sequence[str]) -> list[str]:
        return self._answers.names(subjects)

    def keep_named(self, answers: Mapping[str, str]) -> None:
        self._answers.keep_named(answers)
