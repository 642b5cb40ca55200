"""What a server with a model understands, learned from its refusals and its replies and remembered for a day."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from prelabel.llm.forms import Form
from prelabel.llm.memory import Memory

REMEMBERED_S = 24 * 3600.0
FIRST_ALONE_S = 0.5
"""How long others wait for the first request with something new in it: refusals come at once, completions do not."""
_LENGTHS = ("max_tokens", "max_completion_tokens", "")
"""Names of the limit on a reply's length, in the order in which they are tried: models of OpenAI since o1 know only
the second, many servers only the first."""
_DOUBTED = ("logprobs", "form", "length", "temperature")
"""In the order in which they are suspected after a refusal without a reason."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What may be sent, and what of it has been ``accepted`` already."""

    form: Form = Form.STRICT
    temperature: bool = True
    length: str = _LENGTHS[0]
    logprobs: bool = True
    accepted: frozenset[str] = frozenset()

    @classmethod
    def first_of(cls, provider: str) -> "Capabilities":
        """What is sent to a server that nothing is known of.

        Anthropic's endpoint ignores ``response_format`` (https://platform.claude.com/docs/en/api/openai-sdk), so that
        the form must be told in words from the beginning.
        """
        return cls(form=Form.TEXT) if provider == "anthropic" else cls()

    def without(self, feature: str, words: str = "") -> "Capabilities":
        """These after ``feature`` was refused: its next form, or none.

        :param words: of the refusal, in lower case.
        """
        accepted = self.accepted - {feature}
        match feature:
            case "form":
                return replace(self, form=self.form.next(words), accepted=accepted)
            case "temperature":
                return replace(self, temperature=False, accepted=accepted)
            case "length":
                return replace(self, length=_LENGTHS[_LENGTHS.index(self.length) + 1], accepted=accepted)
            case _:
                return replace(self, logprobs=False, accepted=accepted)

    def sent(self, *, with_length: bool, with_logprobs: bool) -> frozenset[str]:
        """The features of a request that is made by these."""
        has = {
            "form": self.form is not Form.TEXT,
            "temperature": self.temperature,
            "length": with_length and bool(self.length),
            "logprobs": with_logprobs and self.logprobs,
        }
        return frozenset(name for name, is_sent in has.items() if is_sent)

    def packed(self) -> str:
        return json.dumps([int(self.form), self.temperature, self.length, self.logprobs, sorted(self.accepted)])

    @classmethod
    def unpacked(cls, text: str) -> "Capabilities":
        """:raises ValueError: it is nothing that :meth:`packed` wrote."""
        form, temperature, length, logprobs, accepted = json.loads(text)
        if length not in _LENGTHS:
            raise ValueError(length)
        return cls(Form(form), bool(temperature), length, bool(logprobs), frozenset(accepted))


class Learned:
    """The capabilities of one server with one model, shared by all its callers in a process, on one event loop."""

    def __init__(self, name: str, provider: str, memory: Memory) -> None:
        self._name = f"capabilities:{name}"
        self._first = Capabilities.first_of(provider)
        self._memory = memory
        self._until = 0.0
        self._ahead: asyncio.Event | None = None
        self.now = self._first
        self._followed = self._ignored = 0

    @asynccontextmanager
    async def asking(self, *, with_length: bool, with_logprobs: bool) -> AsyncIterator[None]:
        """Held around a request: the first one with something new in it goes ahead of the others for a moment."""
        await self._recall()
        if self.now.sent(with_length=with_length, with_logprobs=with_logprobs) <= self.now.accepted:
            yield
        elif self._ahead is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ahead.wait(), FIRST_ALONE_S)
            yield
        else:
            ahead = self._ahead = asyncio.Event()
            try:
                yield
            finally:
                ahead.set()
                self._ahead = None

    async def refused(self, feature: str, by: Capabilities, words: str = "") -> None:
        """``feature`` was refused of a request made by ``by``, of which another caller may have heard already."""
        spared = by.without(feature, words)
        if getattr(self.now, feature) == getattr(by, feature):
            self._followed = self._ignored = 0
            await self._learn(
                replace(self.now, **{feature: getattr(spared, feature)}, accepted=self.now.accepted - {feature})
            )

    async def accepted(self, features: frozenset[str], by: Capabilities) -> None:
        """A request made by ``by`` with these features was answered."""
        new = {name for name in features if getattr(self.now, name) == getattr(by, name)} - self.now.accepted
        if new:
            await self._learn(replace(self.now, accepted=self.now.accepted | new))

    async def replied(self, by: Capabilities, *, follows: bool) -> None:
        """A whole reply came to a request made by ``by``; a form that most replies ignore is given up.

        Not after one: servers that obey have their accidents.
        """
        if by.form is Form.TEXT or by.form is not self.now.form:
            return
        self._followed += follows
        self._ignored += not follows
        if self._ignored >= 2 and self._ignored > self._followed:
            await self.refused("form", by, "type")

    def doubted(self, features: frozenset[str], cleared: frozenset[str]) -> str:
        """Which feature to try without after a refusal without a reason, empty if all have been accepted or ``cleared``."""
        open_ones = features - self.now.accepted - cleared
        return next((name for name in _DOUBTED if name in open_ones), "")

    async def _recall(self) -> None:
        if time.monotonic() < self._until:
            return
        self._until = time.monotonic() + REMEMBERED_S
        self.now = self._first
        kept = await asyncio.to_thread(self._memory.recall, self._name)
        with suppress(ValueError):
            if kept and self.now == self._first:
                self.now = Capabilities.unpacked(kept)

    async def _learn(self, now: Capabilities) -> None:
        self.now = now
        await asyncio.to_thread(self._memory.remember, self._name, now.packed(), REMEMBERED_S)
