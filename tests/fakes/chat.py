"""A stand-in for an LLM behind ``prelabel.asking.Chat``: it says label 1 of every ticket that it was not told about."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from prelabel.core.prompt import Message
from prelabel.errors import LLMError
from prelabel.llm.exchange import ChatReply, ChatRequest

HANG = "never answers"
SAYS_NOTHING: Mapping[str, Any] = {}


class FakeChat:
    """:param told: by a ticket's text: an error, ``HANG``, a whole reply or its text, or its answer without the id."""

    def __init__(self, told: Mapping[str, LLMError | ChatReply | str | Mapping[str, Any]] | None = None) -> None:
        self.told = told or {}
        self.requests: list[ChatRequest] = []

    @property
    def asked(self) -> list[list[str]]:
        """The tickets' texts, request by request."""
        return [[ticket["text"] for ticket in read_fence(request.messages)] for request in self.requests]

    async def complete(self, request: ChatRequest) -> ChatReply:
        self.requests.append(request)
        answers = []
        for ticket in read_fence(request.messages):
            said = self.told.get(ticket["text"], {"label": "1", "confidence": 0.9})
            if isinstance(said, LLMError):
                raise said
            if said == HANG:
                await asyncio.Event().wait()
            if isinstance(said, ChatReply):
                return said
            if isinstance(said, str):
                return ChatReply(said, problem="" if said else "the LLM's reply is empty")
            answers += [{"id": ticket["id"], **said}] if said else []
        return ChatReply(json.dumps({"answers": answers}), prompt_tokens=100, completion_tokens=10, cost=0.25)


def read_fence(messages: Sequence[Message], name: str = "tickets") -> list[dict[str, Any]]:
    """What stands, one a line, between the user message's only line ``<name>`` and its only line ``</name>``.

    Tickets as ``id`` and ``text``, examples as ``text`` and their answer, notes as ``name`` and ``text``.
    """
    [user] = [message.content for message in messages if message.role == "user"]
    lines = user.splitlines()
    [start] = [number for number, line in enumerate(lines) if line == f"<{name}>"]
    [end] = [number for number, line in enumerate(lines) if line == f"</{name}>"]
    return [_read_line(line, name) for line in lines[start + 1 : end]]


def _read_line(line: str, name: str) -> dict[str, Any]:
    first, end = json.JSONDecoder().raw_decode(line)
    second = json.loads(line[end + 1 :])
    if name == "tickets":
        return {"id": first, "text": second}
    return {"text": first, **second} if name == "examples" else {"name": first, "text": second}
