"""What a server with a model understands, learned from its refusals and its replies and remembered for a day."""

import asyncio
import json
import math
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

    def without(self, feature: str, words: str = "type") -> "Capabilities":
        """These after ``feature`` was refused: its next form, or none.

        :param words: of the refusal, in lower case, where there is one.
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

    @property
    def is_limited(self) -> bool:
        """Whether replies are known to keep to the limit that a request names, with nothing added to it."""
        return self.length == _LENGTHS[0] and "length" in self.accepted

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
        """:raises ValueError, TypeError: it is nothing that :meth:`packed` wrote."""
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
        self._recalling = asyncio.Lock()
        self._ahead: asyncio.Event | None = None
        self.now = self._first
        self._followed = self._ignored = 0
        self._reply_share = 1 / 3

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

    async def known(self) -> Capabilities:
        """What is known by now, here or in another process."""
        await self._recall()
        return self.now

    async def refused(self, feature: str, by: Capabilities, spared: Capabilities) -> bool:
        """A request made by ``by`` was refused for ``feature``, of which another caller may have heard already.

        What was accepted before is only doubted at first: gateways have their moments, and a day without strict replies
        is a high price for one of them. Another request that is sent after that and refused, too, is believed; the
        first may have been refused for a ticket's words, which servers repeat.

        :param spared: what it is to be from now on.
        :returns: whether it is believed.
        """
        if getattr(self.now, feature) != getattr(by, feature):
            return True
        if feature in by.accepted:
            self.now = replace(self.now, accepted=self.now.accepted - {feature})
            return False
        await self._give_up(feature, spared)
        return True

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
            await self._give_up("form", by.without("form"))

    def reckoned_reply(self, max_tokens: int) -> int:
        """What a reply of at most so many tokens will take, by those that came before."""
        return math.ceil(self._reply_share * max_tokens)

    def took(self, max_tokens: int, completion_tokens: int) -> None:
        """A reply of at most ``max_tokens`` took so many."""
        if max_tokens and completion_tokens:
            self._reply_share += 0.1 * (min(1.0, completion_tokens / max_tokens) - self._reply_share)

    def suspects(self, by: Capabilities, features: frozenset[str]) -> list[tuple[str, Capabilities]]:
        """After a refusal without a reason: the features that have not been accepted yet, each with what spares it."""
        open_ones = [name for name in _DOUBTED if name in features - self.now.accepted]
        found = [(name, by.without(name)) for name in open_ones]
        if "form" in open_ones and by.form < Form.OBJECT:
            found.append(("form", replace(by, form=Form.TEXT)))
        return found

    async def _recall(self) -> None:
        """Once a day, what is kept; callers that come meanwhile wait for it too."""
        async with self._recalling:
            if time.monotonic() < self._until:
                return
            kept = await asyncio.to_thread(self._memory.recall, self._name)
            self.now = self._first
            with suppress(ValueError, TypeError):
                self.now = Capabilities.unpacked(kept) if kept else self._first
            self._until = time.monotonic() + REMEMBERED_S

    async def _give_up(self, feature: str, spared: Capabilities) -> None:
        self._followed = self._ignored = 0
        now = replace(self.now, accepted=self.now.accepted - {feature})
        await self._learn(replace(now, **{feature: getattr(spared, feature)}))

    async def _learn(self, now: Capabilities) -> None:
        self.now = now
        await asyncio.to_thread(self._memory.remember, self._name, now.packed(), REMEMBERED_S)
