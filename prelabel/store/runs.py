"""Bulk runs: what was asked for, how far it is, what went wrong. One at a time per project."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import redis
from redis.lock import Lock

from prelabel.core.types import Usage
from prelabel.errors import RequestError
from prelabel.store.connection import reaching_redis
from prelabel.store.keys import Keys

State = Literal["queued", "running", "paused", "succeeded", "failed", "canceled"]
ENDED: frozenset[State] = frozenset({"succeeded", "failed", "canceled"})
COUNTERS = (
    *("labeled", "abstained", "withheld", "failed", "skipped", "from_cache"),
    *("requests", "prompt_tokens", "cached_tokens", "completion_tokens"),
)
LEASE_S = 15.0
"""For how long a worker may be silent before its run is another's."""
SHOWN_TASKS = 10
"""How many tasks are named for each reason of failure."""


class RunExists(RequestError):
    """The project has a run going already."""

    def __init__(self, run_id: str) -> None:
        super().__init__("run_exists", f"the project has a run going: {run_id}", 409)
        self.run_id = run_id


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
    total: int = 0
    started_at: str = ""
    finished_at: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    cost: float | None = 0.0
    """US dollars so far; None if the price of any request is unknown, or was before prices were kept."""

    @property
    def done(self) -> int:
        return sum(self.counts[name] for name in ("labeled", "abstained", "withheld", "failed", "skipped"))

    @property
    def cost_per_task(self) -> float | None:
        """US dollars for each task that was answered; None if that is unknown, or if there is none yet."""
        answered = self.counts["labeled"] + self.counts["abstained"]
        return None if self.cost is None or not answered else self.cost / answered

    @property
    def eta_seconds(self) -> float | None:
        """Seconds that the rest will take at the pace so far; None while there is none to tell from."""
        if self.state != "running" or not self.done:
            return None
        elapsed = (datetime.now(UTC) - datetime.fromisoformat(self.started_at)).total_seconds()
        return round(elapsed / self.done * max(0, self.total - self.done), 1)


class Runs:
    """The runs of one Label Studio's projects, in Redis."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys

    def create(self, options: RunOptions) -> Run:
        """A queued run.

        :raises RunExists: the project has one going.
        """
        run_id = secrets.token_hex(6)
        values: dict[Any, Any] = {"state": "queued", "options": json.dumps(asdict(options))}
        with reaching_redis():
            # The run first, so that what is going always is a run, whenever Redis goes away.
            self._redis.hset(self._keys.run(run_id), mapping=values)
            if not self._redis.hsetnx(self._keys.going, str(options.project), run_id):
                self._redis.delete(self._keys.run(run_id))
                raise RunExists(str(self._redis.hget(self._keys.going, str(options.project))))
            self._redis.zadd(self._keys.runs, {run_id: datetime.now(UTC).timestamp()})
        return self.get(run_id)

    def get(self, run_id: str) -> Run:
        """:raises RequestError: there is no such run."""
        with reaching_redis():
            kept: Any = self._redis.hgetall(self._keys.run(run_id))
        if "options" not in kept:
            raise RequestError("run", f"there is no run {run_id[:40]!r}", 404)
        return Run(
            id=run_id,
            options=RunOptions(**json.loads(kept["options"])),
            state=kept["state"],
            wanted=kept.get("wanted", ""),
            message=kept.get("message", ""),
            model_version=kept.get("model_version", ""),
            total=int(kept.get("total", 0)),
            started_at=kept.get("started_at", ""),
            finished_at=kept.get("finished_at", ""),
            counts={name: int(kept.get(name, 0)) for name in COUNTERS},
            cost=float(kept.get("cost", 0)) if kept.get("priced", "0") == kept.get("requests", "0") else None,
        )

    def all(self, project: int | None = None) -> list[Run]:
        """All runs, or a project's, newest first."""
        with reaching_redis():
            ids: Any = self._redis.zrevrange(self._keys.runs, 0, -1)
        found = [self.get(run_id) for run_id in ids]
        return [run for run in found if project is None or run.options.project == project]

    def going(self) -> list[Run]:
        """The runs that are not over, one of a project at most."""
        with reaching_redis():
            ids: Any = self._redis.hvals(self._keys.going)
        return [self.get(run_id) for run_id in ids]

    def lock(self, run_id: str) -> Lock:
        """What a worker holds, and renews, while it is at the run; see ``runs.lease``."""
        return Lock(self._redis, self._keys.run(run_id, "lease"), timeout=LEASE_S, sleep=0.2, thread_local=False)

    def is_worked_on(self, run_id: str) -> bool:
        """Whether a worker is at the run; one that has died counts for up to ``LEASE_S`` seconds."""
        with reaching_redis():
            return bool(self._redis.exists(self._keys.run(run_id, "lease")))

    def update(self, run_id: str, **values: str | int) -> None:
        """Set some of a run's fields; see :class:`Run`."""
        kept: dict[Any, Any] = values
        with reaching_redis():
            self._redis.hset(self._keys.run(run_id), mapping=kept)

    def count(self, run_id: str, usage: Usage | None = None, **more: int) -> None:
        """Add to counters, and what asking has cost."""
        used = {} if usage is None else asdict(usage)
        cost = used.pop("cost", 0.0)
        if usage is not None and cost is not None:
            used["priced"] = usage.requests
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=True)
            for name, number in {**more, **used}.items():
                pipe.hincrby(self._keys.run(run_id), name, number)
            if cost:
                pipe.hincrbyfloat(self._keys.run(run_id), "cost", cost)
            pipe.execute()

    def end(self, run_id: str, state: State, message: str = "") -> None:
        """The run is over; its project may have another."""
        run = self.get(run_id)
        ended: dict[Any, Any] = {"state": state, "message": message, "finished_at": now()}
        with reaching_redis():
            is_going = self._redis.hget(self._keys.going, str(run.options.project)) == run_id
            pipe = self._redis.pipeline(transaction=True)
            pipe.hset(self._keys.run(run_id), mapping=ended)
            if is_going:
                pipe.hdel(self._keys.going, str(run.options.project))
            pipe.execute()

    def take_back_unwritten(self, run_id: str) -> None:
        """Uncount what was answered and never written, since its worker died in between."""
        key = self._keys.run(run_id)
        with reaching_redis():
            found: Any = self._redis.hmget(key, ["unwritten_labeled", "unwritten_abstained"])
            pipe = self._redis.pipeline(transaction=True)
            for name, count in zip(("labeled", "abstained"), found, strict=True):
                pipe.hincrby(key, name, -int(count or 0))
            pipe.hdel(key, "unwritten_labeled", "unwritten_abstained")
            pipe.execute()

    def reopen(self, run_id: str) -> None:
        """An ended run is to go on.

        :raises RunExists: its project has another going.
        """
        run = self.get(run_id)
        with reaching_redis():
            if not self._redis.hsetnx(self._keys.going, str(run.options.project), run_id):
                going = str(self._redis.hget(self._keys.going, str(run.options.project)))
                if going != run_id:
                    raise RunExists(going)
        self.update(run_id, state="queued", wanted="", message="", finished_at="")

    def fail_tasks(self, run_id: str, reasons: Mapping[int, str]) -> None:
        """Note why tasks have no prediction."""
        if reasons:
            kept: dict[Any, Any] = {str(task): reason for task, reason in reasons.items()}
            with reaching_redis():
                self._redis.hset(self._keys.run(run_id, "failed"), mapping=kept)

    def failed_tasks(self, run_id: str) -> dict[int, str]:
        """The tasks that have no prediction, with the reason."""
        with reaching_redis():
            kept: Any = self._redis.hgetall(self._keys.run(run_id, "failed"))
        return {int(task): reason for task, reason in kept.items()}

    def forget_failures(self, run_id: str) -> dict[int, str]:
        """Take the failed tasks off the run, to be tried again; returns them."""
        failed = self.failed_tasks(run_id)
        with reaching_redis():
            self._redis.delete(self._keys.run(run_id, "failed"))
        self.update(run_id, failed=0)
        return failed

    def errors(self, run_id: str) -> list[dict[str, Any]]:
        """Failures by reason, the most frequent first, with some of their tasks."""
        by_reason: dict[str, list[int]] = {}
        for task, reason in sorted(self.failed_tasks(run_id).items()):
            by_reason.setdefault(reason, []).append(task)
        ordered = sorted(by_reason.items(), key=lambda item: -len(item[1]))
        return [{"reason": reason, "count": len(tasks), "tasks": tasks[:SHOWN_TASKS]} for reason, tasks in ordered]

    def forget_project(self, project: int) -> None:
        """Drop all runs of a project."""
        for run in self.all(project):
            with reaching_redis():
                self._redis.delete(*(self._keys.run(run.id, *name) for name in ((), ("failed",), ("lease",))))
                self._redis.zrem(self._keys.runs, run.id)
        with reaching_redis():
            self._redis.hdel(self._keys.going, str(project))


def now() -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
