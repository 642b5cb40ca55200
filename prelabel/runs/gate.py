"""Who says of a run whether a request to an LLM may still be sent: it goes on, and there is money left.

What a request may cost is reserved until it is over, so that all that are in flight on all workers fit in.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from prelabel.asking.ask import Admission
from prelabel.config import Settings
from prelabel.core.tokens import estimate_tokens
from prelabel.errors import StoreUnavailable
from prelabel.llm.bodies import THINKING_TOKENS
from prelabel.llm.exchange import ChatRequest
from prelabel.llm.pricing import dearest
from prelabel.runs.opened import OpenRun, Stopped
from prelabel.store.ledger import Claim

ESTIMATED_TIMES, LONGEST_REPLY = 2, 4000
"""How many times its estimate a prompt may have in tokens, and what a reply may without a limit."""
UNPRICED = (
    "nobody knows the price of an answer, so the run cannot keep to what it may cost: set LLM_PRICE_INPUT and "
    "LLM_PRICE_OUTPUT and start another; if they are set, a fallback answered or the LLM's server tells no tokens"
)


class Spent(Stopped):
    """Nothing is left of what the run may cost."""

    @classmethod
    def of(cls, max_cost: float | None, *, is_known: bool = True) -> "Spent":
        """:param is_known: whether it is known what the run has cost so far."""
        if not is_known:
            return cls(UNPRICED)
        return cls(f"the run may cost ${max_cost or 0:g} at most, and the rest does not fit in: start another")


class RunGate:
    """Admits requests to LLMs as long as the run goes on and there is money left for them.

    :param claim: the part of the run that asks.
    :param goes_on: whether another request is to be sent.
    """

    def __init__(self, run: OpenRun, claim: Claim, goes_on: Callable[[], bool]) -> None:
        self._run = run
        self._claim = claim
        self._goes_on = goes_on
        self._max_cost = run.options.max_cost
        self._held: dict[int, float] = {}
        self._released = self._lost = 0.0
        self._put_off: set[int] = set()
        self._refused: Literal["", "later", "no", "unknown"] = ""
        self.is_halted = False
        """Whether one was not admitted since nothing more was to be begun."""

    def of(self, settings: Settings) -> "ModelGate":
        """For requests to the model that ``settings`` name."""
        return ModelGate(self, settings)

    @property
    def refused(self) -> Literal["", "later", "no", "unknown"]:
        """Why a request was not admitted in the end, if that was for its cost."""
        return self._refused or ("later" if self._put_off else "")

    def admits(self, request: ChatRequest, settings: Settings) -> Admission:
        if not self._goes_on():
            self.is_halted = True
            return "stop"
        if self._max_cost is None:
            return "yes"
        dollars = self._price(request, settings)
        try:
            said = self._run.ledger.reserve(self._claim, dollars, self._max_cost)
        except StoreUnavailable:  # raised, it would break off those in flight; waiting, it would hold them up
            self._refused = "later"
            return "stop"
        self._put_off.discard(id(request))
        if said == "yes":
            self._held[id(request)] = dollars  # which may be another sum once more is known of the server
            return "yes"
        if said == "later":
            self._put_off.add(id(request))
            return "later"
        self._refused = said
        return "no"

    def ended(self, request: ChatRequest, lost: int) -> None:
        if self._max_cost is not None:
            dollars = self._held.pop(id(request))
            self._released += dollars
            self._lost += lost * dollars

    def settled(self) -> tuple[float, float]:
        """Of requests that have ended since this was last called the dollars that were reserved, and those that may be
        billed for what was not answered."""
        settled = self._released, self._lost
        self._released = self._lost = 0.0
        return settled

    def _price(self, request: ChatRequest, settings: Settings) -> float:
        """What a request costs at most."""
        is_limited = self._run.work.llm.keeps_to_limits(settings)
        return dearest(settings, *most_tokens(request, is_limited=is_limited)) or 0.0


@dataclass(frozen=True, slots=True)
class ModelGate:
    """What :func:`prelabel.asking.ask.ask` asks before each request to one model."""

    run: RunGate
    settings: Settings

    def admits(self, request: ChatRequest) -> Admission:
        return self.run.admits(request, self.settings)

    def ended(self, request: ChatRequest, lost: int) -> None:
        self.run.ended(request, lost)


def most_tokens(request: ChatRequest, *, is_limited: bool) -> tuple[int, int]:
    """Of the prompt and of the reply, at most.

    :param is_limited: replies are known to keep to the request's limit; else thinking is billed beside it.
    """
    prompt = sum(estimate_tokens(message.content) for message in request.messages)
    prompt += estimate_tokens(json.dumps(request.schema))
    if request.max_tokens is None:
        return ESTIMATED_TIMES * prompt, LONGEST_REPLY
    return ESTIMATED_TIMES * prompt, request.max_tokens + (0 if is_limited else THINKING_TOKENS)
