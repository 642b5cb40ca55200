"""Several models in turn: what one cannot do for good is asked of the next."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
        self._looking = asyncio.Lock()

    async def is_cooling(self, name: str) -> bool:
        """Whether it failed of late, here or in another process; callers that come together look there once."""
        async with self._looking:
            now = time.monotonic()
            is_old = now - self._looked_at.get(name, float("-inf")) >= LOOKED_AT_EVERY_S
            if is_old and not self._is_out(name, now):
                self._looked_at[name] = now
                if await asyncio.to_thread(self._memory.recall, f"cooldown:{name}") is not None:
                    self._until[name] = max(self._until.get(name, 0.0), now + LOOKED_AT_EVERY_S)
            return self._is_out(name, now)

    async def begin(self, name: str, for_s: float) -> None:
        self._until[name] = time.monotonic() + for_s
        await asyncio.to_thread(self._memory.remember, f"cooldown:{name}", "1", for_s)

    def _is_out(self, name: str, now: float) -> bool:
        """Whether it is cooling, by what this process knows."""
        return self._until.get(name, float("-inf")) > now


class Fallbacks:
    """Models by name, in the order in which they are tried.

    :param names: of :attr:`prelabel.llm.endpoint.Target.account_name`, one for each of ``models``.
    """

    def __init__(self, models: Sequence[Chat], names: Sequence[str], cooldowns: Cooldowns) -> None:
        self._models = dict(zip(names, models, strict=True))
        self._cooldowns = cooldowns

    async def complete(self, request: ChatRequest) -> ChatReply:
        """The reply of the first that has one; those that failed of late come last.

        :raises LLMRefusesContent: a text is refused, which is no model's failure.
        :raises LLMError: none has: what may be about a text counts before what passes, and that before what stays; of
            several the first in the settings' order.
        """
        failed: dict[str, LLMError] = {}
        for name in await self._in_turn():
            try:
                reply = await self._models[name].complete(request)
                reply = replace(reply, lost_tries=reply.lost_tries + _lost(failed)) if failed else reply
                return reply if name == next(iter(self._models)) else replace(reply, is_stand_in=True)
            except LLMRefusesContent as error:
                error.lost_tries += _lost(failed)
                raise
            except LLMRefusesForm as error:  # may suit another model, and is no reason to leave this one alone
                failed[name] = error
            except LLMError as error:
                failed[name] = error
                if len(self._models) > 1:
                    refused = isinstance(error, LLMRefusesRequest)
                    await self._cooldowns.begin(name, REFUSED_S if refused else UNAVAILABLE_S)
        lost = _lost(failed)
        final = min((failed[name] for name in self._models), key=_gravity)
        final.lost_tries = lost
        raise final

    async def _in_turn(self) -> list[str]:
        if len(self._models) == 1:
            return list(self._models)
        cooling = {name: await self._cooldowns.is_cooling(name) for name in self._models}
        return sorted(self._models, key=lambda name: cooling[name])


def _lost(failed: Mapping[str, LLMError]) -> int:
    return sum(error.lost_tries for error in failed.values())


def _gravity(error: LLMError) -> int:
    """How final it is: other tickets, or a later time, may fare better where it is small."""
    if isinstance(error, LLMRefusesForm):
        return 0
    return 2 if isinstance(error, LLMRefusesRequest) else 1
