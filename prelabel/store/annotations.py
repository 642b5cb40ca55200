"""The labels that Label Studio's annotations hold, in Redis: the newest state of each annotation, once.

Every change gets a revision number, so that a process that keeps an index of them asks only for what is new.
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
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and (old == ARGV[3] or cjson.decode(old).updated_at > tonumber(ARGV[2])) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[3]), ARGV[1])
redis.call('SADD', KEYS[4], ARGV[1])
return 1
"""
"""Newest ``updated_at`` wins; the same annotation again changes nothing."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened to a project's annotations since a revision."""

    revision: int
    """The newest revision that these contain."""
    put: Sequence[Annotation]
    deleted: Sequence[int]


class Annotations:
    """The annotations of one Label Studio's projects."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys
        self._put = client.register_script(PUT_SCRIPT)

    def put(self, ref: ProjectRef, annotations: Iterable[Annotation]) -> int:
        """Keep the annotations that are newer than what is kept of them; returns how many were."""
        of = self._keys.of
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=False)
            for annotation in annotations:
                keys = [of(ref, name) for name in ("annotations", "changes", "revision", f"task:{annotation.task_id}")]
                self._put(keys, [annotation.id, annotation.updated_at, json.dumps(asdict(annotation))], client=pipe)
            return sum(pipe.execute())

    def delete(self, ref: ProjectRef, ids: Iterable[int]) -> None:
        """Forget these annotations; unknown ids are fine."""
        of = self._keys.of
        with reaching_redis():
            for annotation_id in ids:
                stored: Any = self._redis.hget(of(ref, "annotations"), str(annotation_id))
                if not stored:
                    continue
                revision = int(self._redis.incr(of(ref, "revision")))
                pipe = self._redis.pipeline(transaction=True)
                pipe.hdel(of(ref, "annotations"), str(annotation_id))
                pipe.srem(of(ref, f"task:{json.loads(stored)['task_id']}"), str(annotation_id))
                pipe.zadd(of(ref, "changes"), {str(annotation_id): revision})
                pipe.execute()

    def delete_tasks(self, ref: ProjectRef, tasks: Iterable[int]) -> None:
        """Forget all annotations of these tasks."""
        for task in tasks:
            with reaching_redis():
                ids: Any = self._redis.smembers(self._keys.of(ref, f"task:{task}"))
            self.delete(ref, map(int, ids))

    def changes(self, ref: ProjectRef, since: int = 0) -> Changes:
        """What changed after revision ``since``; 0 for all there is."""
        of = self._keys.of
        with reaching_redis():
            revision: Any = self._redis.get(of(ref, "revision"))
            if int(revision or 0) == since:
                return Changes(since, (), ())
            ids: Any = self._redis.zrange(of(ref, "changes"), f"({since}", str(revision or 0), byscore=True)
            stored: Any = self._redis.hmget(of(ref, "annotations"), ids) if ids else []
        found = dict(zip(map(int, ids), stored, strict=True))
        put = [_annotation(text) for text in found.values() if text]
        return Changes(int(revision or 0), put, [number for number, text in found.items() if not text])


def _annotation(text: str) -> Annotation:
    kept = json.loads(text)
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
