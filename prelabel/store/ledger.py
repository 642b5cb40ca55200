"""What has become of each task of a run: a record a task, in shards of some hundred, each a small hash in Redis.

A record is a letter and what is kept with it:

===  =========  ========================================================================================
``?``  waiting    to be asked about
``b``  waiting    in a batch at the provider, or left unanswered by one, see ``store.batches``
``a``  answered   with the packed answer (``core.kept``), stored the moment it arrives; to be written
``l``  labeled    written, with the packed answer
``n``  abstained  written without a label
``h``  withheld   not asked about, or not written, so that a person labels it unswayed
``f``  failed     the reason is kept once for all that share it
``s``  skipped    the task is gone, or has got a prediction from ``/predict``
===  =========  ========================================================================================

Nobody is told of a state that is not counted, or of a count without its states: both change in one script. Who holds a
part of a run (a shard, ``plan``, ``batch`` or ``write``) has its lease, which expires, and the part's fencing token:
what an earlier holder stores, having been frozen or taken for dead, is refused (:class:`Lost`). Tokens are random, not
counted up, so that none comes twice where Redis was killed and has lost a second.
"""

import os
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import redis

from prelabel.core.types import Usage
from prelabel.store import ledger_scripts as scripts
from prelabel.store.connection import reaching_redis
from prelabel.store.keys import Keys

LEASE_S = 12.0
"""For how long a holder may be silent before its part is another's: longer than one bout of Redis being away."""
SHARD_TASKS = 500
"""Redis keeps a hash of up to 512 short fields in one piece, at about 20 bytes a task."""
PLAN, BATCH, WRITE = "plan", "batch", "write"
OTHER_PARTS = frozenset({PLAN, BATCH, WRITE})
"""The parts of a run that are no shards."""
MOVED_AT_ONCE = 1000
"""Tasks in one script, which nobody else can come between."""


class Lost(Exception):
    """Somebody else holds the part by now."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A part of a run that somebody holds."""

    part: str
    token: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What becomes of a task."""

    shard: str
    task: int
    record: str
    said: str = ""
    """An answer's comment, or why the task failed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is to be written."""

    shard: str
    task: int
    packed: str
    comment: str


Call = Callable[..., Any]
"""Runs a script on the run: its text, then what it is told."""
Reserved = Literal["yes", "later", "no", "unknown"]
"""May a request be sent? See :meth:`Ledger.reserve`."""


class Ledger:
    """The tasks of one run, in Redis. Whatever it is told of a run that was forgotten raises ``NoRun``."""

    def __init__(self, client: redis.Redis, keys: Keys, run_id: str, call: Call) -> None:
        self._redis = client
        self._keys = keys
        self._run_id = run_id
        self._call = call

    def take(self, part: str = "") -> Claim | None:
        """A part that nobody holds, by default any shard with waiting tasks; None if there is none."""
        token = secrets.token_hex(8)
        taken = self._call(scripts.TAKE, part, int(LEASE_S * 1000), holder(os.getpid()), token)
        return Claim(taken, token) if taken else None

    def renew(self, claims: Sequence[Claim]) -> list[bool]:
        """Whether each is still held; if so, it is for ``LEASE_S`` seconds more."""
        held = self._call(scripts.RENEW, int(LEASE_S * 1000), holder(os.getpid()), *_told(claims))
        return [bool(each) for each in held]

    def give_back(self, claims: Sequence[Claim]) -> None:
        self._call(scripts.GIVE_BACK, *_told(claims))

    def free(self, dead: str) -> int:
        """What a :func:`holder` held that is dead is anybody's at once; how many parts that were."""
        return int(self._call(scripts.FREE, dead))

    def plan(
        self, claim: Claim, tasks: Sequence[int], *, place: int, total: int, draws: Mapping[int, int] | None = None
    ) -> None:
        """Add a page of tasks, and keep the place from which to go on.

        :param total: how many there will be, as far as is known.
        :param draws: tasks that are drawn for validation, by slot; the last in a slot counts.
        :raises Lost: somebody else plans.
        """
        drawn = [part for pair in (draws or {}).items() for part in pair]
        said = self._call(scripts.PLAN, claim.token, place, total, SHARD_TASKS, len(drawn) // 2, *drawn, *tasks)
        _require(said)

    def end_plan(self, claim: Claim) -> None:
        """All tasks are there. :raises Lost: somebody else plans."""
        _require(self._call(scripts.PLANNED, claim.token))

    def chosen(self, start: int, count: int) -> tuple[list[int], int]:
        """Some of the tasks that the run is about, by id, where it is not about all; and how many these are."""
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=False)
            pipe.lrange(self._key("chosen"), start, start + count - 1)
            pipe.llen(self._key("chosen"))
            tasks, total = pipe.execute()
        return [int(task) for task in tasks], int(total)

    def drawn(self) -> list[int]:
        """The tasks that are drawn for validation so far."""
        with reaching_redis():
            return [int(task) for task in self._redis.hvals(self._key("drawn"))]

    def waiting(self, shard: str) -> list[int]:
        """The tasks of a shard that are to be asked about, by id."""
        with reaching_redis():
            kept: Any = self._redis.hgetall(self._key("shard", shard))
        return sorted(int(task) for task, record in kept.items() if record == "?")

    def handled(self, tasks: Iterable[int]) -> set[int]:
        """Those of ``tasks`` that the run is about and has not skipped."""
        found: set[int] = set()
        with reaching_redis():
            for task in tasks:
                shards: Any = self._redis.zrevrangebyscore(self._key("shards"), task, "-inf", start=0, num=1)
                record = self._redis.hget(self._key("shard", shards[0]), str(task)) if shards else None
                if record not in (None, "s"):
                    found.add(task)
        return found

    def size(self, shard: str) -> int:
        """All tasks of a shard."""
        with reaching_redis():
            return int(self._redis.hlen(self._key("shard", shard)))

    def shards(self, *, unasked: bool = False, most: int | None = None) -> list[str]:
        """All shards, or the first of them.

        :param unasked: only those with tasks that are to be asked about.
        """
        with reaching_redis():
            found: Any = self._redis.zrange(self._key("open" if unasked else "shards"), 0, -1)
        return sorted(map(str, found), key=int)[:most]

    def free_shards(self) -> int:
        """How many shards have waiting tasks that may be asked about, and nobody is at them."""
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hget(self._key(), "is_open")
            pipe.zcard(self._key("open"))
            pipe.hgetall(self._key("leases"))
            pipe.time()
            is_open, count, leases, (seconds, _) = pipe.execute()
        return max(0, count - len(_held(leases, seconds) - OTHER_PARTS)) if is_open == "1" else 0

    def is_held(self, *parts: str) -> bool:
        """Whether somebody is at one of these parts, by default at any shard."""
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hgetall(self._key("leases"))
            pipe.time()
            leases, (seconds, _) = pipe.execute()
        held = _held(leases, seconds)
        return bool(held & set(parts) if parts else held - OTHER_PARTS)

    def move(
        self,
        claim: Claim,
        entries: Iterable[Entry],
        usage: Usage | None = None,
        *,
        released: float = 0.0,
        lost: float = 0.0,
    ) -> int:
        """Keep what has become of tasks, and what it has cost; returns how many have changed.

        :param released: dollars that are no longer reserved.
        :param lost: dollars that the provider may bill for what it never answered.

        :raises Lost: somebody else holds the part: nothing is kept.
        """
        told = list(entries)
        moved = 0
        for start in range(0, max(1, len(told)), MOVED_AT_ONCE):
            cost, counted = costs(usage if start == 0 else None)
            rows = [each for one in told[start : start + MOVED_AT_ONCE] for each in _row(one)]
            counters = [part for pair in counted.items() for part in pair]
            money = (cost, *(f"{dollars if start == 0 else 0:.9f}" for dollars in (released, lost)))
            said = self._call(scripts.MOVE, claim.part, claim.token, *money, len(counted), *counters, *rows)
            _require(said)
            moved += int(said)
        return moved

    def reserve(self, claim: Claim, dollars: float, most: float) -> Reserved:
        """Whether a request may be sent that costs so much at most, of a run that may cost ``most`` in all.

        ``later``: it may once others in flight have cost less than is reserved for them. ``unknown``: no, since nobody
        knows what the run has cost so far.

        :raises Lost: somebody else holds the part.
        """
        said = self._call(scripts.RESERVE, claim.part, claim.token, f"{dollars:.9f}", most)
        _require(said)
        answers: dict[int, Reserved] = {0: "later", 1: "yes", 2: "no", 3: "unknown"}
        return answers[said]

    def complete(self, claim: Claim) -> bool:
        """Whether the run is over, as it is from now on if nothing is left to do: Redis may have lost its last second.

        :raises Lost: somebody else writes by now.
        """
        said = self._call(scripts.COMPLETE, claim.token)
        _require(said)
        return bool(said)

    def answers(self) -> Iterator[Answer]:
        """What is to be written, shard by shard."""
        with reaching_redis():
            shards: Any = self._redis.zrange(self._key("unwritten"), 0, -1)
        for shard in sorted(shards, key=int):
            with reaching_redis():
                kept: Any = self._redis.hgetall(self._key("shard", shard))
                found = {task: record[1:] for task, record in kept.items() if record[0] == "a"}
                comments: Any = self._redis.hmget(self._key("comments"), list(found)) if found else []
            for (task, packed), comment in zip(found.items(), comments, strict=True):
                yield Answer(shard, int(task), packed, comment or "")

    def records(self) -> dict[int, str]:
        """Every task's record; for tests, and small runs."""
        found: dict[int, str] = {}
        with reaching_redis():
            for shard in self._redis.zrange(self._key("shards"), 0, -1):
                kept: Any = self._redis.hgetall(self._key("shard", str(shard)))
                found |= {int(task): record for task, record in kept.items()}
        return found

    def failures(self, shown: int) -> list[tuple[str, int, list[int]]]:
        """Reasons of failure, the most frequent first, with how many tasks and some of them."""
        with reaching_redis():
            reasons: Any = self._redis.hgetall(self._key("reasons"))
            pipe = self._redis.pipeline(transaction=True)
            for code in reasons.values():
                pipe.zcount(self._key("failed"), code, code)
                pipe.zrangebyscore(self._key("failed"), code, code, start=0, num=shown)
            said = pipe.execute()
        found = [
            (reason, count, sorted(map(int, tasks)))
            for reason, count, tasks in zip(reasons, said[::2], said[1::2], strict=True)
            if count
        ]
        return sorted(found, key=lambda each: -each[1])

    def forget(self, tasks: Iterable[int]) -> None:
        """These tasks are gone."""
        if numbers := list(tasks):
            self._call(scripts.FORGET, *numbers)

    def keys(self) -> list[str]:
        """The keys of all shards."""
        with reaching_redis():
            return [self._key("shard", str(shard)) for shard in self._redis.zrange(self._key("shards"), 0, -1)]

    def _key(self, *name: str) -> str:
        return self._keys.run(self._run_id, *name)


def counted(usage: Usage) -> dict[str, int]:
    """What asking has cost as a run's counters; ``priced`` are the requests whose price is known."""
    counters = {name: value for name, value in asdict(usage).items() if isinstance(value, int)}
    counters |= {f"stage:{stage}": count for stage, count in usage.stages.items()}
    counters["escalation_nanodollars"] = round(usage.escalation_cost * 1e9)
    return {**counters, "priced": usage.requests} if usage.cost is not None else counters


def costs(usage: Usage | None) -> tuple[float, dict[str, int]]:
    """US dollars, and what is added to which of a run's counters."""
    if usage is None:
        return 0, {}
    return usage.cost or 0, {name: count for name, count in counted(usage).items() if count}


def holder(pid: int) -> str:
    """The name of a process on this machine, as leases have it."""
    return f"{socket.gethostname()}:{pid}"


def _held(leases: Mapping[str, str], seconds: int) -> set[str]:
    """The parts whose lease is not over."""
    return {part for part, lease in leases.items() if float(lease.partition(" ")[0]) > 1000 * seconds}


def _told(claims: Sequence[Claim]) -> list[str]:
    return [word for claim in claims for word in (claim.part, claim.token)]


def _row(entry: Entry) -> tuple[str, int, str, str]:
    return entry.shard, entry.task, entry.record, entry.said


def _require(said: Any) -> None:
    if said == -1:
        raise Lost
