"""What the tests of asking have in common: questions, tickets, and an LLM that says what it is told to."""

import asyncio
from collections.abc import Sequence
from typing import Any

from prelabel.asking.ask import Chat, ask
from prelabel.asking.requests import Assignment, Measured, Told
from prelabel.core.tokens import estimate_tokens
from prelabel.core.types import Abstained, Choices, Example, Label, Outcome, Ticket
from prelabel.llm.exchange import ChatReply, ChatRequest
from tests.fakes.chat import FakeChat, read_fence
from tests.unit.answers import said

INTENT = Choices("intent", "text", (Label("refund", "Refund"), Label("other", "Other")))
LABELED = said({"intent": ("refund",)}, 0.9)
OTHER = said({"intent": ("other",)}, 0.9)
CUT_OFF = "the LLM's reply was cut off"
NO_LABEL_NAMED = Abstained("the LLM's reply holds no answer with a label of the config")
PATIENCE_S = 5.0


class InTurn(FakeChat):
    """Gives these replies, one a request."""

    def __init__(self, *replies: ChatReply | str) -> None:
        super().__init__()
        self._replies = iter(replies)

    async def complete(self, request: ChatRequest) -> ChatReply:
        self.requests.append(request)
        reply = next(self._replies)
        return reply if isinstance(reply, ChatReply) else ChatReply(reply)


def run(
    chat: Chat,
    texts: Sequence[str],
    examples: Sequence[Sequence[Example]] | None = None,
    deadline_s: float = PATIENCE_S,
    measured: Measured | None = None,
    **assignment: Any,
) -> list[Outcome]:
    chosen = examples or [()] * len(texts)
    told = [Told(Ticket(number, text), chosen[number]) for number, text in enumerate(texts)]
    return asyncio.run(ask(chat, Assignment((INTENT,), **assignment), told, deadline_s, measured=measured))


def numbered(count: int) -> list[str]:
    return [f"ticket {number}" for number in range(count)]


def example(task_id: int, text: str = "reviewed", label: str = "refund") -> Example:
    return Example(task_id, text, {"intent": (label,)})


def shown(chat: FakeChat) -> list[dict[str, Any]]:
    """The examples in the only request."""
    [request] = chat.requests
    return read_fence(request.messages, "examples") if "<examples>" in request.messages[1].content else []


def cost(request: ChatRequest) -> int:
    return sum(estimate_tokens(message.content) for message in request.messages)
