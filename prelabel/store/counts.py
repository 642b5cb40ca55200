"""What workers have counted, put together, for the backend to show: sums that only grow, and levels of the moment.

A figure is named by a text that the caller makes. A level counts as long as its process tells of it every few seconds,
so that of one that was killed none is left over.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

from prelabel.store.connection import reaching_redis
from prelabel.store.keys import Keys

LEVEL_KEPT_S = 10


@dataclass(frozen=True, slots=True)
class Figures:
    """By name."""

    sums: Mapping[str, float]
    levels: Mapping[str, float]


class Counts:
    """The figures of all workers of one Label Studio, in Redis."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys

    def add(self, process: str, more: Mapping[str, float], levels: Mapping[str, float]) -> None:
        """Add to the sums, and set the levels of a process.

        What was on its way as the connection broke may have been added all the same.

        :raises StoreUnavailable: Redis is away.
        """
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=True)
            for name, amount in more.items():
                pipe.hincrbyfloat(self._keys.counts, name, amount)
            if any(levels.values()):
                pipe.sadd(self._keys.levels(), process)
                pipe.set(self._keys.levels(process), json.dumps(levels), ex=LEVEL_KEPT_S)
            else:
                pipe.srem(self._keys.levels(), process)
                pipe.delete(self._keys.levels(process))
            pipe.execute()

    def read(self) -> Figures:
        """:raises StoreUnavailable: Redis is away."""
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hgetall(self._keys.counts)
            pipe.smembers(self._keys.levels())
            sums, processes = pipe.execute()
            return Figures({name: float(text) for name, text in sums.items()}, self._levels(sorted(processes)))

    def _levels(self, processes: list[str]) -> Counter[str]:
        """Over all processes; who is silent is struck off."""
        total: Counter[str] = Counter()
        if not processes:
            return total
        told: Any = self._redis.mget([self._keys.levels(process) for process in processes])
        if silent := [process for process, text in zip(processes, told, strict=True) if text is None]:
            self._redis.srem(self._keys.levels(), *silent)
        for text in filter(None, told):
            total.update(json.loads(text))
        return total
