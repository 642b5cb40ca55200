"""One bulk run at one moment: what was asked for, and how far it is. Read ``runs`` next, which keeps them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from prelabel.config import Method
from prelabel.core.signals import STAGES
from prelabel.store.run_scripts import PACE_BUCKETS, PACE_S

State = Literal["queued", "running", "paused", "succeeded", "failed", "canceled"]
ENDED: frozenset[State] = frozenset({"succeeded", "failed", "canceled"})
GOING: tuple[State, ...] = ("queued", "running", "paused")
OUTCOMES = ("labeled", "abstained", "withheld", "failed", "skipped")
COUNTERS = (
    *(*OUTCOMES, "from_cache"),
    *("requests", "prompt_tokens", "cached_tokens", "completion_tokens"),
)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run is to do."""

    project: int
    only_missing: bool = True
    """Leave tasks alone that have a prediction of the current version."""
    refresh: bool = False
    """Begin a new generation first, so that every task is predicted anew."""
    limit: int | None = None
    """Tasks at most."""
    validation: int = 0
    """How many tasks are drawn at random and withheld."""
    max_cost: float | None = None
    """US dollars that it may cost at most."""
    dry_run: bool = False
    """Only tell what it would take."""
    method: Method | None = None
    """Of a dry run: who would label, where that is not the project's own ``LABELING_METHOD``."""
    is_chosen: bool = False
    """Whether it is about some tasks only, which the ledger names."""
    mode: Literal["live", "batch"] = "live"
    """``batch``: through the provider's Batch API, within a day at half the price, and only the rest live."""
    rescore: bool = False
    """Ask nothing: only score anew what was predicted, by the evidence there is by now."""

    @property
    def is_anew(self) -> bool:
        """Whether tasks that have a prediction of the current version get another."""
        return self.rescore or not (self.only_missing or self.refresh)


@dataclass(frozen=True, slots=True)
class Run:
    """A run at one moment."""

    id: str
    options: RunOptions
    state: State
    wanted: str = ""
    """What somebody has asked of it: ``pause``, ``cancel``; empty if nothing."""
    message: str = ""
    """Why it failed, and what to do."""
    model_version: str = ""
    generation: int = 0
    """The project's generation that it begins, where it predicts everything anew; 0 before that is known."""
    total: int = 0
    place: int = 0
    """Up to this task all are in the ledger."""
    planned: int = 0
    """How many these are."""
    is_planned: bool = False
    """Whether these are all."""
    is_open: bool = False
    """Whether what waits may be asked about live."""
    waiting: int = 0
    answered: int = 0
    """Tasks whose answer is kept and not written yet."""
    writing_since: float = 0.0
    """When the import began whose end is not known; 0 if there is none (Unix seconds)."""
    redis_server: str = ""
    """Which start of Redis it was when a worker last began: its own ``run_id``."""
    import_s: float = 0.0
    """How long an import takes, as measured."""
    imported_at: float = 0.0
    """When the last one ended (Unix seconds)."""
    pace: float | None = None
    """Tasks a second of late, answered or otherwise settled; None while nothing can be told, or nothing is done."""
    poll_at: float = 0.0
    """When its batches are to be looked at next (Unix seconds)."""
    batch_round: int = 1
    """2: what the first batches did not answer, 3: what goes live."""
    batch_tokens: int = 0
    """Most of a batch, where the provider has taken no more; 0 if that is not so."""
    batches_full: int = 0
    """Nothing is submitted as long as there are so many batches: the provider's queue or the run's money is full."""
    is_called_off: bool = False
    """Whether the provider was told to cancel its batches."""
    provider_away_since: float = 0.0
    """Since when its batches cannot be looked at (Unix seconds); 0 if they can."""
    started_at: str = ""
    finished_at: str = ""
    estimate: Mapping[str, Any] | None = None
    """Of a dry run: what the run would take."""
    counts: Mapping[str, int] = field(default_factory=dict)
    cost: float | None = 0.0
    """US dollars so far; None if the price of any request is unknown, or was before prices were kept."""
    escalation_cost: float = 0.0
    """US dollars of that which a second model took."""
    stages: Mapping[str, int] = field(default_factory=dict)
    """Tasks by the stage that settled them, whether written yet or not."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """By what its scores are made: ``tasks`` labelled blind, and by stage how many of how many were right."""

    @property
    def done(self) -> int:
        return sum(self.counts[name] for name in OUTCOMES)

    @property
    def cost_per_task(self) -> float | None:
        """US dollars for each task that was answered; None if that is unknown, or if there is none yet."""
        answered = self.counts["labeled"] + self.counts["abstained"]
        return None if self.cost is None or not answered else self.cost / answered

    @property
    def settled(self) -> int:
        """Tasks that need not be asked about any more."""
        return self.done + self.answered

    @property
    def unwritten_s(self) -> float:
        """Seconds since the last import ended, or since it was started; whoever has died meanwhile."""
        since = self.imported_at or datetime.fromisoformat(self.started_at).timestamp()
        return datetime.now(UTC).timestamp() - since

    @property
    def is_batching(self) -> bool:
        """Whether its tasks go to the provider in batches now."""
        return self.options.mode == "batch" and self.is_planned and not self.is_open

    @property
    def is_resting(self) -> bool:
        """Whether nothing is to be done before its batches are looked at again."""
        rests = self.is_batching and self.state == "running" and not self.wanted
        return rests and self.poll_at > datetime.now(UTC).timestamp()

    @property
    def asking_left_s(self) -> float | None:
        """Seconds until all is answered at the pace of late; None while there is none to tell from, or batches
        are under way."""
        if self.is_batching:
            return None
        return max(0, self.total - self.settled) / self.pace if self.pace else None

    @property
    def eta_seconds(self) -> float | None:
        """Seconds that the rest will take, the last import with it."""
        left_s = self.asking_left_s
        return None if left_s is None else round(left_s + self.import_s, 1)


def read_run(run_id: str, kept: Mapping[str, Any], settled: Mapping[str, str], seconds: int) -> Run:
    """A run by its hash.

    :param settled: tasks by tens of seconds, as :data:`prelabel.store.run_scripts.PRELUDE` counts them.
    :param seconds: Redis's clock, in whole Unix seconds.
    """
    return Run(
        id=run_id,
        options=RunOptions(**json.loads(kept["options"])),
        state=kept["state"],
        wanted=kept.get("wanted", ""),
        message=kept.get("message", ""),
        model_version=kept.get("model_version", ""),
        generation=int(kept.get("generation") or 0),
        total=int(kept.get("total", 0)),
        place=int(kept.get("place", 0)),
        planned=int(kept.get("planned", 0)),
        is_planned=kept.get("is_planned") == "1",
        is_open=kept.get("is_open") == "1",
        poll_at=float(kept.get("poll_at") or 0),
        batch_round=int(kept.get("batch_round") or 1),
        batch_tokens=int(kept.get("batch_tokens") or 0),
        batches_full=int(kept.get("batches_full") or 0),
        is_called_off=kept.get("is_called_off") == "1",
        provider_away_since=float(kept.get("provider_away_since") or 0),
        waiting=int(kept.get("waiting", 0)),
        answered=int(kept.get("answered", 0)),
        writing_since=float(kept.get("writing_since") or 0),
        redis_server=kept.get("redis_server", ""),
        import_s=float(kept.get("import_s", 0)),
        imported_at=float(kept.get("imported_at", 0)),
        pace=_pace(kept, settled, seconds),
        estimate=json.loads(kept["estimate"]) if "estimate" in kept else None,
        started_at=kept.get("started_at", ""),
        finished_at=kept.get("finished_at", ""),
        counts={name: int(kept.get(name, 0)) for name in COUNTERS},
        cost=float(kept.get("cost", 0)) if kept.get("priced", "0") == kept.get("requests", "0") else None,
        escalation_cost=int(kept.get("escalation_nanodollars", 0)) / 1e9,
        stages={stage: int(kept[name]) for stage in STAGES if (name := f"stage:{stage}") in kept},
        evidence=json.loads(kept.get("evidence") or "{}"),
    )


def _pace(kept: Mapping[str, str], settled: Mapping[str, str], seconds: int) -> float | None:
    """Tasks a second in the last minute, or since the run has been running if that is less.

    :param settled: tasks by tens of seconds, as :data:`prelabel.store.run_scripts.PRELUDE` counts them.
    :param seconds: Redis's clock.
    """
    first = seconds // PACE_S - PACE_BUCKETS
    elapsed = seconds - max(first * PACE_S, float(kept.get("running_since", 0)))
    count = sum(int(number) for bucket, number in settled.items() if int(bucket) >= first)
    return count / elapsed if kept.get("state") == "running" and count and elapsed >= 1 else None
