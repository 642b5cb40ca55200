"""Asking an LLM's server without the rest of prelabel: what the tests of servers and of their trouble share."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prelabel.config import Settings
from prelabel.core.parse import parse_reply
from prelabel.core.prompt import build_messages
from prelabel.core.schema import reply_schema
from prelabel.core.types import Choices, Label, Labeled, Ticket
from prelabel.llm.exchange import ChatReply, ChatRequest
from prelabel.llm.fallbacks import Chat
from prelabel.llm.loop import LLM
from tests.fakes.llm_server import FakeLLM

INTENT = Choices("intent", "text", (Label("refund", "Refund"), Label("other", "Other")))
QUESTIONS = (INTENT, Choices("tone", "text", (Label("calm", "calm"), Label("angry", "angry")), multiple=True))
PATIENCE_S = 20.0

Ask = Callable[..., list[ChatReply]]


@contextmanager
def asking_of(llm: FakeLLM) -> Iterator[Ask]:
    """Ask about tickets, each in a request of its own, all at once; what is learned stays for the next call."""
    asking = LLM(64)

    def ask(*texts: str, max_tokens: int | None = None, logprobs: bool = False, **env: str) -> list[ChatReply]:
        settings = Settings.from_env({"OPENAI_API_KEY": llm.api_key, "OPENAI_BASE_URL": llm.url, **env})

        async def all_at_once(chat: Chat) -> list[ChatReply]:
            asked = (request(text, max_tokens, logprobs=logprobs) for text in texts)
            return list(await asyncio.gather(*map(chat.complete, asked)))

        return asking.run(settings, all_at_once, PATIENCE_S)

    yield ask
    asking.close()


def request(text: str, max_tokens: int | None = None, *, logprobs: bool = False) -> ChatRequest:
    messages = build_messages(QUESTIONS, "Be fair.", [Ticket(1, text)])
    return ChatRequest(messages, reply_schema(QUESTIONS), max_tokens, logprobs)


def labels(reply: ChatReply) -> dict[str, tuple[str, ...]]:
    answer = parse_reply(reply.text, QUESTIONS, 1)[1]
    assert isinstance(answer, Labeled)
    return dict(answer.labels)
