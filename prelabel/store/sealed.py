"""What an LLM says of tasks that people label blind, sealed: nobody is shown it, it only tells how good the LLM is.

Kept by what an LLM's answers depend on (its basis: model, prompt, label config, generation and so on), so that another
prompt or model is never judged by what this one said, nor a generation by what was said before its reviews were there.
"""

from collections.abc import Collection, Mapping
from typing import Any

import redis

from prelabel.store.connection import reaching_redis
from prelabel.store.keys import Keys, ProjectRef

KEPT_S = 90 * 24 * 3600
"""Since the last of a basis was kept."""


class Sealed:
    """Those of one Label Studio's projects."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys

    def keep(self, ref: ProjectRef, basis: str, answers: Mapping[int, str]) -> None:
        """Keep what was said of tasks, as ``core.kept`` packs it."""
        if not answers:
            return
        said: dict[Any, Any] = {str(task): packed for task, packed in answers.items()}
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hset(self._key(ref, basis), mapping=said)
            pipe.expire(self._key(ref, basis), KEPT_S)
            pipe.sadd(self._keys.of(ref, "bases"), basis)
            pipe.execute()

    def get(self, ref: ProjectRef, basis: str, tasks: Collection[int]) -> dict[int, str]:
        """What was said of those of ``tasks`` that were ever asked about."""
        if not tasks:
            return {}
        with reaching_redis():
            found: Any = self._redis.hmget(self._key(ref, basis), list(map(str, tasks)))
        return {task: packed for task, packed in zip(tasks, found, strict=True) if packed}

    def _key(self, ref: ProjectRef, basis: str) -> str:
        return self._keys.of(ref, f"sealed:{basis}")
