"""What is known of LLM servers, in Redis for all processes: their capabilities, and which are left alone for now."""

from contextlib import suppress
from typing import Any

import redis

from prelabel.errors import StoreUnavailable
from prelabel.store.connection import reaching_redis
from prelabel.store.keys import LLM_MEMORY


class LLMMemory:
    """A :class:`prelabel.llm.memory.Memory`; while Redis is away, each process knows what it has found itself."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def recall(self, name: str) -> str | None:
        with suppress(StoreUnavailable), reaching_redis():
            found: Any = self._redis.get(f"{LLM_MEMORY}:{name}")
            return str(found) if found else None
        return None

    def remember(self, name: str, value: str, for_s: float) -> None:
        with suppress(StoreUnavailable), reaching_redis():
            self._redis.set(f"{LLM_MEMORY}:{name}", value, px=max(1, round(for_s * 1000)))
