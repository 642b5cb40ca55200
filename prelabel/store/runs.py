"""Bulk runs: what was asked for, how far it is, what went wrong. One at a time per project."""

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import redis
from redis.lock import Lock

from prelabel.core.types import Usage
from prelabel.errors import RequestError
from prelabel.store import run_scripts as scripts
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


class NoRun(RequestError):
    """There is no such run: it never was, or was forgotten."""

    def __init__(self, run_id: str) -> None:
        super().__init__("run", f"there is no run {run_id[:40]!r}", 404)


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
    after_id: int = 0
    """Of a run that predicts anew what has a prediction: up to this task all is done, but what is to be retried."""
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
    """The runs of one Label Studio's projects, in Redis.

    What changes a run changes it only as long as it exists: what was forgotten does not come back.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys
        self._scripts = {text: client.register_script(scripts.PRELUDE + text) for text in scripts.ALL}

    def create(self, options: RunOptions) -> Run:
        """A queued run.

        :raises RunExists: the project has one going.
        """
        run_id = secrets.token_hex(6)
        asked_at = datetime.now(UTC).timestamp()
        if holder := self._on(run_id, scripts.OPEN, options.project, asked_at, json.dumps(asdict(options))):
            raise RunExists(holder)
        return self.get(run_id)

    def get(self, run_id: str) -> Run:
        """:raises NoRun: there is no such run."""
        with reaching_redis():
            kept: Any = self._redis.hgetall(self._keys.run(run_id))
        if "options" not in kept:
            raise NoRun(run_id)
        return Run(
            id=run_id,
            options=RunOptions(**json.loads(kept["options"])),
            state=kept["state"],
            wanted=kept.get("wanted", ""),
            message=kept.get("message", ""),
            model_version=kept.get("model_version", ""),
            total=int(kept.get("total", 0)),
            after_id=int(kept.get("after_id", 0)),
            started_at=kept.get("started_at", ""),
            finished_at=kept.get("finished_at", ""),
            counts={name: int(kept.get(name, 0)) for name in COUNTERS},
            cost=float(kept.get("cost", 0)) if kept.get("priced", "0") == kept.get("requests", "0") else None,
        )

    def all(self, project: int | None = None) -> list[Run]:
        """All runs, or a project's, newest first."""
        with reaching_redis():
            ids = self._ids()
        return [run for run in self._present(ids) if project is None or run.options.project == project]

    def going(self) -> list[Run]:
        """The runs that are not over, one of a project at most."""
        with reaching_redis():
            ids: Any = self._redis.hvals(self._keys.going)
        return [run for run in self._present(ids) if run.state not in ENDED]

    def lock(self, run_id: str) -> Lock:
        """What a worker holds, and renews, while it is at the run; see ``runs.lease``."""
        return Lock(self._redis, self._keys.run(run_id, "lease"), timeout=LEASE_S, sleep=0.2, thread_local=False)

    def is_worked_on(self, run_id: str) -> bool:
        """Whether a worker is at the run; one that has died counts for up to ``LEASE_S`` seconds."""
        with reaching_redis():
            return bool(self._redis.exists(self._keys.run(run_id, "lease")))

    def begin(self, run_id: str) -> Run | None:
        """A worker that has its lease goes to work on the run: what was answered and never written is uncounted.

        None if there is nothing to be done: it is over or paused, or becomes so now because somebody has asked for it.

        :raises NoRun: there is no such run.
        """
        return self.get(run_id) if self._on(run_id, scripts.BEGIN) else None

    def ask(self, run_id: str, wanted: Literal["pause", "cancel"]) -> Run:
        """Have the run's worker pause or end it; where none is at work on it, it is done at once.

        :raises RequestError: it is over, or there is none.
        """
        is_heard = self._on(run_id, scripts.ASK, wanted)
        run = self.get(run_id)
        if not is_heard:
            raise RequestError("run_state", f"run {run_id} is over: {run.state}", 409)
        return run

    def resume(self, run_id: str) -> Run:
        """Queue a paused run, or take back that it is to pause.

        :raises RequestError: it is neither, or there is none.
        """
        is_resumed = self._on(run_id, scripts.RESUME)
        run = self.get(run_id)
        if not is_resumed:
            raise RequestError("run_state", f"run {run_id} is {run.state}, not paused", 409)
        return run

    def end(self, run_id: str, state: State, message: str = "") -> None:
        """The run is over, if it was not before; its project may have another.

        :raises NoRun: there is no such run.
        """
        self._on(run_id, scripts.END, state, message)

    def reopen(self, run_id: str) -> None:
        """An ended run is to go on, and to try its failed tasks again.

        :raises RunExists: its project has another going, or it is going itself.
        :raises NoRun: there is no such run.
        """
        if holder := self._on(run_id, scripts.OPEN, self.get(run_id).options.project, 0):
            raise RunExists(holder)

    def update(self, run_id: str, **values: str | int) -> None:
        """Set some of a run's fields; see :class:`Run`.

        :raises NoRun: there is no such run.
        """
        self._on(run_id, scripts.SET, *(part for pair in values.items() for part in pair))

    def count(self, run_id: str, usage: Usage | None = None, /, **more: int) -> None:
        """Add to counters, and what asking has cost.

        :raises NoRun: there is no such run.
        """
        used = {} if usage is None else asdict(usage)
        cost = used.pop("cost", None)
        if usage is not None and cost is not None:
            used["priced"] = usage.requests
        added = {**more, **used}
        self._on(run_id, scripts.COUNT, cost or 0, *(part for pair in added.items() for part in pair))

    def take_back_unwritten(self, run_id: str) -> None:
        """Uncount what was answered and could not be written.

        :raises NoRun: there is no such run.
        """
        self._on(run_id, scripts.TAKE_BACK)

    def fail_tasks(self, run_id: str, reasons: Mapping[int, str]) -> None:
        """Note why tasks have no prediction.

        :raises NoRun: there is no such run.
        """
        if reasons:
            self._on(run_id, scripts.FAIL, *(part for pair in reasons.items() for part in pair))

    def failed_tasks(self, run_id: str) -> dict[int, str]:
        """The tasks that have no prediction, with the reason."""
        with reaching_redis():
            kept: Any = self._redis.hgetall(self._keys.run(run_id, "failed"))
        return {int(task): reason for task, reason in kept.items()}

    def to_retry(self, run_id: str) -> set[int]:
        """The failed tasks that a run that predicts anew what has a prediction is to try again, and has not yet."""
        with reaching_redis():
            return {int(task) for task in self._redis.smembers(self._keys.run(run_id, "again"))}

    def retried(self, run_id: str, tasks: Iterable[int]) -> None:
        """These tasks were tried again."""
        if numbers := list(map(str, tasks)):
            with reaching_redis():
                self._redis.srem(self._keys.run(run_id, "again"), *numbers)

    def errors(self, run_id: str) -> list[dict[str, Any]]:
        """Failures by reason, the most frequent first, with some of their tasks."""
        by_reason: dict[str, list[int]] = {}
        for task, reason in sorted(self.failed_tasks(run_id).items()):
            by_reason.setdefault(reason, []).append(task)
        ordered = sorted(by_reason.items(), key=lambda item: -len(item[1]))
        return [{"reason": reason, "count": len(tasks), "tasks": tasks[:SHOWN_TASKS]} for reason, tasks in ordered]

    def forget_tasks(self, tasks: Iterable[int]) -> None:
        """Drop what any run keeps of these."""
        numbers = list(map(str, tasks))
        if not numbers:
            return
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=False)
            for run_id in self._ids():
                pipe.hdel(self._keys.run(run_id, "failed"), *numbers)
                pipe.srem(self._keys.run(run_id, "again"), *numbers)
            pipe.execute()

    def forget_project(self, project: int) -> None:
        """Drop all runs of a project."""
        with reaching_redis():
            for run in self.all(project):
                self._redis.delete(*self._keys_of(run.id))
                self._redis.zrem(self._keys.runs, run.id)
            self._redis.hdel(self._keys.going, str(project))

    def _ids(self) -> list[str]:
        """Of all runs, newest first."""
        found: Any = self._redis.zrevrange(self._keys.runs, 0, -1)
        return list(found)

    def _present(self, ids: Iterable[str]) -> Iterator[Run]:
        """Those runs that there (still) are."""
        for run_id in ids:
            try:
                yield self.get(run_id)
            except NoRun:
                continue

    def _keys_of(self, run_id: str) -> list[str]:
        """All that is kept of a run, as the scripts take it."""
        return [self._keys.run(run_id), *(self._keys.run(run_id, name) for name in ("failed", "again", "lease"))]

    def _on(self, run_id: str, script: str, *arguments: str | float) -> Any:
        """What ``script`` says of the run.

        :raises NoRun: there is no such run.
        """
        keys = [*self._keys_of(run_id), self._keys.going, self._keys.runs]
        with reaching_redis():
            said = self._scripts[script](keys, [run_id, now(), *arguments])
        if said is None:
            raise NoRun(run_id)
        return said


def now() -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
