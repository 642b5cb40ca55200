"""The labels that Label Studio's annotations hold, in Redis: the newest state of each annotation, once.

Every change gets a revision number, so that a process that keeps an index of them asks only for what is new. Events may
come late or twice: an older state never replaces a newer one, and what was deleted does not come back.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import redis

from prelabel.core.types import Annotation, LabelSource, Prediction
from prelabel.store.connection import reaching_redis
from prelabel.store.keys import Keys, ProjectRef

PUT_SCRIPT = """
if redis.call('SISMEMBER', KEYS[5], ARGV[1]) == 1 then return 0 end
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and (old == ARGV[3] or cjson.decode(old).updated_at > tonumber(ARGV[2])) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[3]), ARGV[1])
redis.call('SADD', KEYS[4], ARGV[1])
return 1
"""
"""Newest ``updated_at`` wins; the same again, and what was deleted, changes nothing."""
REMOVE_SCRIPT = """
if ARGV[2] == '1' then redis.call('SADD', KEYS[4], ARGV[1]) end
local old = redis.call('HGET', KEYS[1], ARGV[1])
if not old then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('SREM', KEYS[5] .. cjson.decode(old).task_id, ARGV[1])
redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[3]), ARGV[1])
return 1
"""


@dataclass(frozen=True, slots=True)
class Emptied:
    """An annotation that holds no label (any more): skipped, or its choice taken back."""

    id: int
    task_id: int
    updated_at: float


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened to a project's annotations since a revision."""

    revision: int
    """The newest revision that these contain."""
    put: Sequence[Annotation]
    deleted: Sequence[int]
    """Those that were deleted or emptied."""


class Annotations:
    """The annotations of one Label Studio's projects."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys
        self._put = client.register_script(PUT_SCRIPT)
        self._remove = client.register_script(REMOVE_SCRIPT)

    def put(self, ref: ProjectRef, states: Iterable[Annotation | Emptied]) -> list[bool]:
        """Keep these states; for each whether it is news, and not older than what is kept or deleted."""
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=False)
            for state in states:
                names = ("annotations", "changes", "revision", f"task:{state.task_id}", "deleted")
                keys = [self._keys.of(ref, name) for name in names]
                self._put(keys, [state.id, repr(state.updated_at), _text(state)], client=pipe)
            return [bool(kept) for kept in pipe.execute()]

    def get(self, ref: ProjectRef, ids: Sequence[int]) -> dict[int, Annotation]:
        """Those of ``ids`` that are kept and hold a label."""
        if not ids:
            return {}
        with reaching_redis():
            stored: Any = self._redis.hmget(self._keys.of(ref, "annotations"), list(map(str, ids)))
        found = (_annotation(text) for text in stored if text)
        return {annotation.id: annotation for annotation in found if annotation}

    def delete(self, ref: ProjectRef, ids: Iterable[int]) -> None:
        """These were deleted in Label Studio, which never gives an id again: no late event brings them back."""
        self._take_out(ref, ids, for_good=True)

    def drop(self, ref: ProjectRef, ids: Iterable[int]) -> None:
        """Forget what is kept of these; the next event brings them back."""
        self._take_out(ref, ids, for_good=False)

    def of_tasks(self, ref: ProjectRef, tasks: Iterable[int]) -> list[int]:
        """The ids of all annotations of these tasks."""
        found: list[int] = []
        for task in tasks:
            with reaching_redis():
                ids: Any = self._redis.smembers(self._keys.of(ref, f"task:{task}"))
            found += map(int, ids)
        return found

    def changes(self, ref: ProjectRef, since: int = 0) -> Changes:
        """What changed after revision ``since``; 0 for all there is."""
        of = self._keys.of
        with reaching_redis():
            revision: Any = self._redis.get(of(ref, "revision"))
            if int(revision or 0) == since:
                return Changes(since, (), ())
            ids: Any = self._redis.zrange(of(ref, "changes"), f"({since}", str(revision or 0), byscore=True)
            stored: Any = self._redis.hmget(of(ref, "annotations"), ids) if ids else []
        found = {int(number): _annotation(text) if text else None for number, text in zip(ids, stored, strict=True)}
        put = [annotation for annotation in found.values() if annotation]
        return Changes(int(revision or 0), put, [number for number, annotation in found.items() if not annotation])

    def _take_out(self, ref: ProjectRef, ids: Iterable[int], *, for_good: bool) -> None:
        keys = [self._keys.of(ref, name) for name in ("annotations", "changes", "revision", "deleted", "task:")]
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=False)
            for annotation_id in ids:
                self._remove(keys, [annotation_id, int(for_good)], client=pipe)
            pipe.execute()


def _text(state: Annotation | Emptied) -> str:
    """What is kept of it; what spoke for a prediction is kept with that."""
    said = asdict(state)
    if said.get("predicted"):
        del said["predicted"]["grounds"]
    return json.dumps(said)


def _annotation(text: str) -> Annotation | None:
    """None for one that was emptied."""
    kept = json.loads(text)
    if "labels" not in kept:
        return None
    said = kept.pop("predicted")
    return Annotation(
        **{
            **kept,
            "labels": _labels(kept["labels"]),
            "source": LabelSource(kept["source"]),
            "predicted": Prediction(**{**said, "labels": _labels(said["labels"])}) if said else None,
        }
    )


def _labels(kept: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(values) for name, values in kept.items()}
