"""The one door to an LLM's server: one request in, one reply out, over OpenAI's protocol.

Every provider here speaks it, each with parts missing: what a server refuses is left out the next time
(``capabilities``), what may pass by itself is tried again with growing random pauses, what would be refused again is
not. Vendors' errors are translated in ``refusals``, completions read in ``replies``.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Protocol

import openai

from prelabel.config import Settings
from prelabel.core.tokens import estimate_tokens
from prelabel.errors import LLMBusy, LLMError, LLMUnavailable
from prelabel.llm.bodies import chat_body
from prelabel.llm.capabilities import Capabilities, Learned
from prelabel.llm.endpoint import Target
from prelabel.llm.exchange import ChatReply, ChatRequest
from prelabel.llm.forms import follows
from prelabel.llm.meter import Meter, metered
from prelabel.llm.pauses import pause_s
from prelabel.llm.pricing import Pricing
from prelabel.llm.refusals import Refusal, Refused, unanswered
from prelabel.llm.replies import read_reply

log = logging.getLogger(__name__)

REPLY_TOKENS = 600
"""What a reply is taken to be limited to where the request sets no limit."""
_LOGGED_EVERY_S = 10.0


class Permit(Protocol):
    """Leave for one request, held while it is in flight."""

    def settle(self, headers: Mapping[str, str], tokens: int) -> None:
        """What the server said of its limits, and what the request has cost.

        Called once for every answer of the server, errors among them (then with 0 tokens); not called where none came.

        :param headers: names in any case; look them up in lower case.
        """


class Limits(Protocol):
    """The limits of one key at one server, shared by all who use it in this process."""

    def request(self, tokens: int, *, is_awaited: bool) -> AbstractAsyncContextManager[Permit]:
        """Waits until one more request of about so many tokens may be in flight.

        :param is_awaited: somebody looks at the screen until it is answered: it goes before bulk work.
        """

    async def paused(self, seconds: float) -> None:
        """The server has answered 429: every caller of this key waits (0: it named no time).

        Only notes it and returns; the waiting is done in :meth:`request`. Called before the permit is given back, so
        that nobody slips through.
        """

    def overloaded(self) -> None:
        """The server is at its limit (429, 5xx, no answer in time): fewer at once; before the permit is given back."""

    def went_well(self) -> None:
        """A request was answered: there may be more at once, in time; before the permit is given back."""

    async def close(self) -> None:
        """Hang up; nothing is asked of it afterwards."""


class ChatClient:
    """A model at an endpoint; used on the loop that its connections belong to.

    :param is_awaited: somebody looks at the screen until it has answered.
    """

    def __init__(
        self,
        connection: openai.AsyncOpenAI,
        target: Target,
        settings: Settings,
        learned: Learned,
        limits: Limits,
        meter: Meter,
        *,
        is_awaited: bool = False,
    ) -> None:
        self._connection = connection
        self._target = target
        self._settings = settings
        self._learned = learned
        self._limits = limits
        self._meter = meter
        self._is_awaited = is_awaited
        self._pricing = Pricing(target, settings)

    async def complete(self, request: ChatRequest) -> ChatReply:
        """:raises LLMError: refused, or still unavailable after ``LLM_MAX_RETRIES`` further tries.

        A 429 uses up none of them, but where there are none it is an error like others.
        """
        tries = lost = 0
        while True:
            try:
                reply = await self._ask(request, tries)
                return replace(reply, lost_tries=lost) if lost else reply
            except LLMError as error:
                lost = error.lost_tries = lost + error.lost_tries
                if not isinstance(error, LLMUnavailable):
                    raise
                if isinstance(error, LLMBusy):  # the limits make the next request wait
                    if not self._settings.llm_max_retries:
                        raise
                    _tell(f"{error}; asking again when it allows")
                    continue
                tries += 1
                if tries > self._settings.llm_max_retries:
                    raise
                wait_s = pause_s(error, tries)
                _tell(f"{error}; trying again, now in {wait_s:.1f} s")
                await asyncio.sleep(wait_s)

    async def _ask(self, request: ChatRequest, tries: int) -> ChatReply:
        """A reply, to a request without what the server is found not to understand.

        :param tries: before this one.
        """
        learned = self._learned
        wants = {"with_length": request.max_tokens is not None, "with_logprobs": request.logprobs}
        async with learned.asking(**wants):
            doubted: set[str] = set()
            while True:
                by = learned.now
                features = by.sent(**wants)
                try:
                    return await self._send(request, by, features)
                except Refused as refused:
                    refusal = refused.refusal
                    if feature := refusal.feature(features):
                        spared = by.without(feature, refusal.words)
                        if feature in doubted:  # of this request; whether of others, they will tell
                            return await self._sparing(spared, request, wants)
                        if await learned.refused(feature, by, spared):
                            _tell(f"the LLM's server refuses {feature}; it is left out from now on")
                        else:
                            doubted.add(feature)
                        continue
                    for suspect in self._suspects(refusal, by, features, tries):
                        if reply := await self._without(*suspect, request, by, wants):
                            return reply
                    raise refusal.as_error(self._target.model) from refused

    def _suspects(
        self, refusal: Refusal, by: Capabilities, features: frozenset[str], tries: int
    ) -> list[tuple[str, Capabilities]]:
        """What may be to blame: of a 500, which may pass by itself, one at each try; else all, for there is no other.

        An empty list for a refusal that says what is the matter.
        """
        found = self._learned.suspects(by, features) if refusal.is_unexplained else []
        return found[tries : tries + 1] if refusal.status == 500 else found

    async def _without(
        self, feature: str, spared: Capabilities, request: ChatRequest, by: Capabilities, wants: dict[str, bool]
    ) -> ChatReply | None:
        """The reply to one more request without ``feature``, which is then to blame; None if that fails as well.

        llama-cpp-python answers a ``response_format`` that it does not know with a 500 that says nothing
        (https://github.com/ggml-org/llama.cpp/issues/23463).
        """
        try:
            reply = await self._send(request, spared, spared.sent(**wants))
        except Refused:
            return None
        await self._learned.refused(feature, by, spared)
        return reply

    async def _sparing(self, spared: Capabilities, request: ChatRequest, wants: dict[str, bool]) -> ChatReply:
        """The reply to a request without what is refused of it, and only of it.

        :raises LLMError: that is refused, too.
        """
        try:
            return await self._send(request, spared, spared.sent(**wants))
        except Refused as refused:
            raise refused.refusal.as_error(self._target.model) from refused

    async def _send(self, request: ChatRequest, by: Capabilities, features: frozenset[str]) -> ChatReply:
        """:raises Refused: the server answered with an error.
        :raises LLMUnavailable: it did not answer.
        """
        most = request.max_tokens or REPLY_TOKENS
        reckoned = sum(estimate_tokens(message.content) for message in request.messages)
        reckoned += self._learned.reckoned_reply(most)
        async with self._limits.request(reckoned, is_awaited=self._is_awaited) as permit:
            with metered(self._meter, self._target.model):
                reply = await self._exchange(request, by, permit, reckoned)
            self._learned.took(most, reply.completion_tokens)
        model = reply.model or self._target.model
        is_stand_in = self._target.is_stood_in_for_by(model)
        reply = replace(reply, model=model, is_stand_in=is_stand_in, cost=self._pricing.cost(reply))
        self._meter.answered(reply)
        await self._learned.accepted(features, by)
        if not reply.problem:
            await self._learned.replied(by, follows=follows(reply.text, request.schema))
        return reply

    async def _exchange(self, request: ChatRequest, by: Capabilities, permit: Permit, reckoned: int) -> ChatReply:
        """As :meth:`_send`, with leave to.

        :param reckoned: tokens that it counts for where the server tells none.
        """
        try:
            answer = await self._connection.chat.completions.with_raw_response.create(**self._body(request, by))
            reply = read_reply(answer.parse(), answer.headers)
        except openai.APIStatusError as error:
            permit.settle(error.response.headers, 0)
            refusal = Refusal.read(error)
            await self._slow_down(refusal)
            raise Refused(refusal) from error
        except openai.OpenAIError as error:
            if isinstance(error, openai.APITimeoutError):
                self._limits.overloaded()
            raise unanswered(error, self._settings.llm_timeout) from error
        except ValueError as error:
            unread = LLMUnavailable("the LLM's server sent what is no JSON")
            unread.lost_tries = 1
            raise unread from error
        permit.settle(answer.headers, reply.prompt_tokens + reply.completion_tokens or reckoned)
        self._limits.went_well()
        return reply

    async def _slow_down(self, refusal: Refusal) -> None:
        error = refusal.as_error(self._target.model)
        if isinstance(error, LLMBusy):
            await self._limits.paused(error.retry_after_s)
        if isinstance(error, LLMUnavailable) and refusal.status != 500:  # which may be about this request alone
            self._limits.overloaded()

    def _body(self, request: ChatRequest, by: Capabilities) -> dict[str, Any]:
        body = chat_body(request, self._target.model, self._settings.temperature, by)
        # openai's client would go through every label of a schema before it sends it: 2 ms for 77.
        as_it_is = {"response_format": body.pop("response_format")} if "response_format" in body else {}
        if self._target.routed_to:
            as_it_is["models"] = [self._target.model, *self._target.routed_to]
        return {**body, "extra_body": as_it_is} if as_it_is else body


_told_at: dict[str, float] = {}


def _tell(what: str) -> None:
    """Log what is being waited out, but not for each of a thousand requests."""
    trouble = what.partition(";")[0]
    if time.monotonic() - _told_at.get(trouble, float("-inf")) > _LOGGED_EVERY_S:
        _told_at[trouble] = time.monotonic()
        log.warning("%s", what)
