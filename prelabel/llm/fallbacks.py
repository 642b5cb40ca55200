"""Several models in turn: what one cannot do for good is asked of the next."""

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from prelabel.errors import LLMError, LLMRefusesContent, LLMRefusesForm, LLMRefusesRequest
from prelabel.llm.exchange import ChatReply, ChatRequest
from prelabel.llm.memory import Memory

REFUSED_S, UNAVAILABLE_S = 600.0, 60.0
"""How long a model is not tried first: after it refused for a reason that somebody must see to, or did not answer."""
LOOKED_AT_EVERY_S = 5.0
"""How old what other processes have found may be."""


class Chat(Protocol):
    """One model."""

    async def complete(self, request: ChatRequest) -> ChatReply:
        """:raises LLMError: there is no reply."""


class Cooldowns:
    """Models that are better left alone for now, shared by a process's callers and, by memory, by all processes."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._until: dict[str, float] = {}
        self._looked_at: dict[str, float] = {}

    async def is_cooling(self, name: str) -> bool:
        now = time.monotonic()
        if self._until.get(name, 0.0) > now:
            return True
        if now - self._looked_at.get(name, float("-inf")) < LOOKED_AT_EVERY_S:
            return False
        self._looked_at[name] = now
        return await asyncio.to_thread(self._memory.recall, f"cooldown:{name}") is not None

    async def begin(self, name: str, for_s: float) -> None:
        self._until[name] = time.monotonic() + for_s
        await asyncio.to_thread(self._memory.remember, f"cooldown:{name}", "1", for_s)


class Fallbacks:
    """Models by name, in the order in which they are tried.

    :param names: of :attr:`prelabel.llm.endpoint.Target.account_name`, one for each of ``models``.
    """

    def __init__(self, models: Sequence[Chat], names: Sequence[str], cooldowns: Cooldowns) -> None:
        self._models = dict(zip(names, models, strict=True))
        self._cooldowns = cooldowns

    async def complete(self, request: ChatRequest) -> ChatReply:
        """The reply of the first that has one; those that failed of late come last.

        :raises LLMError: none has, for the reason of the first in the settings' order; or a text is refused, which is
            no model's failure.
        """
        failed: dict[str, LLMError] = {}
        for name in await self._in_turn():
            try:
                return await self._models[name].complete(request)
            except (LLMRefusesContent, LLMRefusesForm):
                raise
            except LLMError as error:
                failed[name] = error
                if len(self._models) > 1:
                    refused = isinstance(error, LLMRefusesRequest)
                    await self._cooldowns.begin(name, REFUSED_S if refused else UNAVAILABLE_S)
        raise next(failed[name] for name in self._models)

    async def _in_turn(self) -> list[str]:
        if len(self._models) == 1:
            return list(self._models)
        cooling = {name: await self._cooldowns.is_cooling(name) for name in self._models}
        return sorted(self._models, key=lambda name: cooling[name])
