"""Bulk runs: what was asked for, how far they are, what went wrong. One at a time per project."""

import json
import secrets
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, Literal

import redis

from prelabel.core.types import Usage
from prelabel.errors import RequestError
from prelabel.store import batch_scripts, ledger_scripts
from prelabel.store import run_scripts as scripts
from prelabel.store.batches import KeptBatches
from prelabel.store.connection import reaching_redis
from prelabel.store.keys import Keys
from prelabel.store.ledger import OTHER_PARTS, Ledger, counted
from prelabel.store.run import ENDED, Run, RunOptions, State, read_run

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


class Runs:
    """The runs of one Label Studio's projects, in Redis.

    What changes a run changes it only as long as it exists: what was forgotten does not come back.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys
        known = (*scripts.ALL, *ledger_scripts.ALL, *batch_scripts.ALL)
        self._scripts = {text: client.register_script(scripts.PRELUDE + text) for text in known}

    def create(self, options: RunOptions, tasks: Collection[int] = ()) -> Run:
        """A queued run.

        :param tasks: those that it is about; by default all of the project's that lack a prediction.
        :raises RunExists: the project has one going.
        """
        run_id = secrets.token_hex(6)
        asked_at = datetime.now(UTC).timestamp()
        told = json.dumps(asdict(replace(options, is_chosen=bool(tasks))))
        if holder := self._on(run_id, scripts.OPEN, options.project, asked_at, told, *sorted(set(tasks))):
            raise RunExists(holder)
        return self.get(run_id)

    def get(self, run_id: str) -> Run:
        """:raises NoRun: there is no such run."""
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hgetall(self._keys.run(run_id))
            pipe.hgetall(self._keys.run(run_id, "pace"))
            pipe.time()
            kept, settled, (seconds, _) = pipe.execute()
        if "options" not in kept:
            raise NoRun(run_id)
        return read_run(run_id, kept, settled, seconds)

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

    def ledger(self, run_id: str) -> Ledger:
        """What has become of the run's tasks."""
        return Ledger(self._redis, self._keys, run_id, lambda *told: self._on(run_id, *told))

    def batches(self, run_id: str) -> KeptBatches:
        """What the run has at a provider."""
        return KeptBatches(self._redis, self._keys, run_id, lambda *told: self._on(run_id, *told))

    def batching(self) -> list[Run]:
        """The runs that have batches at a provider, over or not."""
        with reaching_redis():
            ids: Any = self._redis.smembers(self._keys.batching)
        return list(self._present(sorted(ids)))

    def is_worked_on(self, run_id: str) -> bool:
        """Whether a worker is at the run; one that has died counts until its lease is over."""
        ledger = self.ledger(run_id)
        return ledger.is_held() or ledger.is_held(*OTHER_PARTS)

    def begin(self, run_id: str) -> Run | None:
        """A worker is to take part in the run; None if it is over or paused, or becomes so now as somebody has asked.

        :raises NoRun: there is no such run.
        """
        return self.get(run_id) if self._on(run_id, scripts.BEGIN) else None

    def leave(self, run_id: str) -> None:
        """A worker takes part no longer; where it was the last one, what somebody has asked for is done.

        :raises NoRun: there is no such run.
        """
        self._on(run_id, scripts.LEAVE)

    def ask(self, run_id: str, wanted: Literal["pause", "cancel", "fail"], why: str = "") -> Run:
        """Have the run's workers pause or end it; where none is at work on it, it is done at once.

        :param why: it failed, and what to do.
        :raises RequestError: it is over, or there is none.
        """
        is_heard = self._on(run_id, scripts.ASK, wanted, why)
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

    def update(self, run_id: str, **values: str | float) -> None:
        """Set some of a run's fields; see :class:`Run`.

        :raises NoRun: there is no such run.
        """
        self._on(run_id, scripts.SET, *(part for pair in values.items() for part in pair))

    def count(self, run_id: str, usage: Usage | None = None, /, **more: int) -> None:
        """Add to counters, and what asking has cost.

        :raises NoRun: there is no such run.
        """
        used = {} if usage is None else counted(usage)
        added = {**more, **used}
        cost = usage.cost if usage else None
        self._on(run_id, scripts.COUNT, cost or 0, *(part for pair in added.items() for part in pair))

    def errors(self, run_id: str) -> list[dict[str, Any]]:
        """Failures by reason, the most frequent first, with some of their tasks."""
        found = self.ledger(run_id).failures(SHOWN_TASKS)
        return [{"reason": reason, "count": count, "tasks": tasks} for reason, count, tasks in found]

    def tell(self, run_id: str, what: str, why: str) -> None:
        """Note in a run's history what has happened to it.

        :raises NoRun: there is no such run.
        """
        self._on(run_id, scripts.TELL, what, why)

    def history(self, run_id: str) -> list[dict[str, str]]:
        """What has happened to a run, the latest last: when (``at``), ``what``, and ``why`` or empty."""
        with reaching_redis():
            told: Any = self._redis.lrange(self._keys.run(run_id, "history"), 0, -1)
        return [json.loads(each) for each in told]

    def forget_tasks(self, tasks: Iterable[int]) -> None:
        """Drop what any run keeps of these."""
        numbers = list(tasks)
        for run in self.all():
            with suppress(NoRun):
                self.ledger(run.id).forget(numbers)

    def forget_project(self, project: int) -> None:
        """Drop all runs of a project."""
        with reaching_redis():
            for run in self.all(project):
                kept = [*self.ledger(run.id).keys(), *self.batches(run.id).keys()]
                self._redis.delete(*self._keys_of(run.id), *kept)
                self._redis.srem(self._keys.batching, run.id)
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
            except NoRun:  # its time was over
                with reaching_redis():
                    self._redis.zrem(self._keys.runs, run_id)

    def _keys_of(self, run_id: str) -> list[str]:
        """All that is kept of a run, as the scripts take it."""
        return [self._keys.run(run_id), *(self._keys.run(run_id, name) for name in scripts.KEYS)]

    def _on(self, run_id: str, script: str, *arguments: str | float) -> Any:
        """What ``script`` says of the run.

        :raises NoRun: there is no such run.
        """
        keys = [*self._keys_of(run_id), self._keys.going, self._keys.runs, self._keys.batching]
        with reaching_redis():
            said = self._scripts[script](keys, [run_id, now(), *arguments])
        if said is None:
            raise NoRun(run_id)
        return said


def now() -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
