"""What an LLM is asked and what it replied, free of any vendor's types."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prelabel.core.prompt import Message


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request: its messages and the JSON schema that the reply must follow."""

    messages: Sequence[Message]
    schema: dict[str, Any] = field(hash=False)
    max_tokens: int | None = None
    """Most tokens that the reply may have; None for as many as the server allows."""
    logprobs: bool = False
    """Whether to tell how probable each token of the reply was, where the server can."""


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What came back. ``problem`` says why there is no whole reply, empty if there is one."""

    text: str
    problem: str = ""
    is_refusal: bool = False
    """Whether the model, or a filter behind it, declined."""
    is_cut_off: bool = False
    """Whether it ended at ``max_tokens``, or at the server's own limit."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    """US dollars; None where the price is unknown. See ``pricing``."""
    model: str = ""
    """Which model answered."""
    is_stand_in: bool = False
    """Whether that is another than the one that the settings name first."""
    lost_tries: int = 0
    """Requests before it that were sent and got no answer: the provider may bill them."""
    logprobs: tuple[tuple[str, float], ...] | None = None
    """The reply's tokens in order with their natural log probabilities; None if not asked for or not told."""
