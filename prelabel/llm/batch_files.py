"""The files of a batch: requests to JSONL within the limits of one file, and lines of results to replies.

Files lie on disk (in the image, where that is memory, beside the process's own), never as a whole in a variable.
"""

import json
from collections.abc import AsyncIterator, Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, Any

import httpx2
import openai
import openai.types
from openai.types.chat import ChatCompletion

from prelabel.core.tokens import estimate_tokens
from prelabel.errors import LLMHasNoBatches, LLMRefusesRequest, LLMUnavailable
from prelabel.llm.exchange import ChatReply, ChatRequest
from prelabel.llm.refusals import UPSTREAM, Refusal, Refused
from prelabel.llm.replies import read_reply

MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000
"""Of one file: OpenAI's and Azure's limits (openai-python, ``types/batch_create_params.py``)."""
USUAL_BYTES = 50_000_000
"""Where nothing else is asked for."""
TRANSFER = openai.Timeout(600.0, connect=20.0)
"""Seconds; a large file is taken in before the upload is answered."""


@dataclass(slots=True)
class Part:
    """Requests for one batch, written to a file that is open as long as the part is the newest one."""

    file: IO[bytes] = field(repr=False)
    by: str
    """The capabilities that its requests are made by, packed."""
    custom_ids: list[str] = field(default_factory=list)
    size: int = 0
    """Bytes."""
    tokens: int = 0
    """Estimated, of the prompts: what a provider counts as queued."""

    def has_room(self, size: int, tokens: int, most: "Most") -> bool:
        is_within = self.size + size <= most.bytes and len(self.custom_ids) < most.requests
        return is_within and (not most.tokens or self.tokens + tokens <= most.tokens)

    def add(self, custom_id: str, line: bytes, tokens: int) -> None:
        self.file.write(line)
        self.custom_ids.append(custom_id)
        self.size += len(line)
        self.tokens += tokens


@dataclass(frozen=True, slots=True)
class Most:
    """What one batch may hold."""

    requests: int = MOST_REQUESTS
    bytes: int = USUAL_BYTES
    tokens: int = 0
    """Estimated prompt tokens; 0 for any number. For accounts whose queue is small."""


Written = tuple[str, ChatRequest, Mapping[str, Any]]
"""A request under its id, with the body in which it is asked."""


def split(written: Iterable[Written], url: str, by: str, most: Most) -> Generator[Part]:
    """The requests in their order, as few parts as possible; each is closed when the next one is asked for.

    :raises LLMRefusesRequest: a request by itself is larger than a file may be.
    :raises ValueError: two requests have one id.
    """
    seen: set[str] = set()
    part: Part | None = None
    try:
        for custom_id, request, body in written:
            if custom_id in seen:
                raise ValueError(f"two requests have the id {custom_id}")
            seen.add(custom_id)
            line = _line({"custom_id": custom_id, "method": "POST", "url": url, "body": body})
            if len(line) > most.bytes:
                raise LLMRefusesRequest(f"a request of {len(line)} bytes does not fit into a batch's file")
            tokens = sum(estimate_tokens(message.content) for message in request.messages)
            if part and not part.has_room(len(line), tokens, most):
                yield part
                part.file.close()
                part = None
            part = part or Part(TemporaryFile(), by)  # noqa: SIM115  closed below
            part.add(custom_id, line, tokens)
        if part:
            yield part
    finally:
        if part:
            part.file.close()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a batch's results."""

    custom_id: str
    response: object
    error: object

    def reply(self) -> ChatReply:
        """Read as a live reply is.

        :raises Refused: the request was answered with an error.
        :raises LLMUnavailable: it was answered with what is no chat completion.
        :raises LLMRefusesRequest, LLMUnavailable: it was not answered.
        """
        if not isinstance(self.response, Mapping):
            raise Refusal.of(UPSTREAM, self.error, {}).as_row_error()
        status, body = self.response.get("status_code"), self.response.get("body")
        if status != 200:
            error = body.get("error", body) if isinstance(body, Mapping) else body
            raise Refused(Refusal.of(status if isinstance(status, int) else UPSTREAM, error, {}))
        if not isinstance(body, dict):
            raise LLMUnavailable("a row of the batch holds no chat completion")
        return read_reply(ChatCompletion.model_construct(**body), {})


def read_row(line: bytes) -> Row | None:
    """None if it is none."""
    with suppress(ValueError, RecursionError):
        found = json.loads(line)
        if isinstance(found, dict) and isinstance(found.get("custom_id"), str):
            return Row(found["custom_id"], found.get("response"), found.get("error"))
    return None


async def download(connection: openai.AsyncOpenAI, file_id: str, to: IO[bytes]) -> None:
    """Fetch a file.

    :raises openai.OpenAIError: it did not come.
    """
    to.seek(0)
    to.truncate()
    try:
        async with connection.files.with_streaming_response.content(file_id, timeout=TRANSFER) as response:
            async for chunk in response.iter_bytes():
                to.write(chunk)
    except httpx2.HTTPError as error:  # OpenAI's client lets through what happens while a body is read
        raise openai.APIConnectionError(request=error.request) from error
    to.seek(0)


async def upload(connection: openai.AsyncOpenAI, name: str, part: Part, **more: Any) -> str:
    """Store a part at the provider; returns the file's id.

    :raises openai.OpenAIError: it was not stored.
    :raises LLMHasNoBatches: the server is none that stores files.
    """
    part.file.seek(0)
    file = await connection.files.create(file=(name, part.file), purpose="batch", timeout=TRANSFER, **more)
    if not isinstance(file, openai.types.FileObject) or not isinstance(file.id, str):
        raise LLMHasNoBatches("the LLM's server sent what is no file: it has no Batch API, ask it live")
    return file.id


async def named(connection: openai.AsyncOpenAI, name: str) -> AsyncIterator[str]:
    """The ids of the input files that were stored under ``name``."""
    async for file in connection.files.list(purpose="batch"):
        if file.filename == name:
            yield file.id


def _line(row: Mapping[str, Any]) -> bytes:
    """JSON's own escapes for all that is not ASCII: no reader can take any of it for the end of the line."""
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"
