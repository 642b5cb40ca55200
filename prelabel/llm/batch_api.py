"""The provider's Batch API: many requests in a file, answered within a day at half the price.

``parts`` → ``submit`` (the id is there before anything is waited for) → ``poll`` until it has ended → ``results`` →
``cleanup``. OpenAI has it (https://developers.openai.com/api/docs/guides/batch), Azure for deployments of a batch type
(https://learn.microsoft.com/en-us/azure/foundry/openai/how-to/batch), and so have some servers that are like OpenAI's;
OpenRouter and Ollama have none, and Anthropic's is another protocol. Requests are made by the code that makes live ones
(``bodies``), rows read by the code that reads live replies (``replies``, ``refusals``). Only the main model is asked:
what it leaves unanswered goes again, in another batch or live, as the caller decides.
"""

import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from tempfile import TemporaryFile
from typing import Any

import openai

from prelabel.config import Settings
from prelabel.errors import LLMBatchUnknown, LLMBusy, LLMError, LLMHasNoBatches, LLMRefusesRequest
from prelabel.llm.batch_files import Most, Part, Row, Written, download, named, read_row, split, upload
from prelabel.llm.batches import BY, NAME, Batch, read_batch
from prelabel.llm.bodies import chat_body
from prelabel.llm.capabilities import Capabilities, Learned
from prelabel.llm.endpoint import Target
from prelabel.llm.exchange import ChatReply, ChatRequest
from prelabel.llm.fallbacks import Chat
from prelabel.llm.pricing import Pricing
from prelabel.llm.refusals import Refusal, Refused
from prelabel.llm.tries import Tries

log = logging.getLogger(__name__)

CLOCKS_DIFFER_S = 3600.0
KEPT_S = 30 * 24 * 3600
"""Seconds after which the provider itself deletes files that nobody came back for, the longest that it allows."""
AZURE_EXPIRES_FROM = "2025-03-01"
"""Azure's API versions that let files expire; earlier ones take the wish and forget it
(https://github.com/Azure/azure-sdk-for-js/issues/36931)."""
_NONE = {
    "openrouter": "OpenRouter has no Batch API",
    "ollama": "Ollama has no Batch API",
    "local": "without an LLM there is no Batch API",
    "anthropic": "Anthropic's Message Batches are another protocol, which prelabel does not speak",
}


def require_batches(settings: Settings) -> None:
    """
    :raises LLMHasNoBatches: the main model's provider is known to have no Batch API.
    """
    provider = settings.openai_provider
    if provider in _NONE:
        raise LLMHasNoBatches(f"{_NONE[provider]} (OpenAI and Azure have one): ask it live")


class BatchClient:
    """A model at an endpoint; used on the loop that its connections belong to.

    :param live: the same model, asked live.
    :raises LLMHasNoBatches: the provider is known to have none.
    """

    def __init__(
        self, connection: openai.AsyncOpenAI, target: Target, settings: Settings, learned: Learned, live: Chat
    ) -> None:
        require_batches(settings)
        at = target.endpoint
        self._connection = connection
        self._target = target
        self._settings = settings
        self._learned = learned
        self._live = live
        self._pricing = Pricing(target, settings)
        self._tries = Tries(target.model, settings)
        self._is_azure = at.provider == "azure"
        self._model = at.deployment or target.model
        self._keeps_files = self._is_azure and at.api_version < AZURE_EXPIRES_FROM
        self._url = "/chat/completions" if self._is_azure else "/v1/chat/completions"

    async def keeps_to_limits(self) -> bool:
        """Whether replies are known to keep to a request's limit."""
        return (await self._learned.known()).is_limited

    async def try_out(self, request: ChatRequest) -> ChatReply | None:
        """The reply to one request, asked live so that what the server refuses is found out before a batch repeats it.

        None where nothing in it is new to the server, and where the server answers no live requests: Azure's batch
        deployments do not.

        :raises LLMError: there is no reply, so that there would be none in a batch.
        """
        by = await self._learned.known()
        if by.sent(with_length=request.max_tokens is not None, with_logprobs=request.logprobs) <= by.accepted:
            return None
        try:
            return await self._live.complete(request)
        except LLMRefusesRequest:
            if self._is_azure:
                return None
            raise

    async def parts(self, requests: Iterable[tuple[str, ChatRequest]], most: Most | None = None) -> AsyncIterator[Part]:
        """The requests, each under an id of the caller's, in as many batches as they need; taken one by one.

        Each part is to be submitted before the next one is asked for.

        :raises LLMRefusesRequest: a request is too large for any batch.
        """
        by = await self._learned.known()
        with closing(split(self._written(requests, by), self._url, by.packed(), most or Most())) as found:
            for part in found:
                yield part

    async def submit(self, name: str, part: Part) -> str:
        """Have the provider begin with a part; returns the batch's id, to be stored before it is polled.

        :param name: of the caller's, different for each part of each run: by it :meth:`find` finds the batch if the
            caller ends before it has stored the id.
        :raises LLMHasNoBatches: the server has no Batch API.
        :raises LLMQueueFull: too much is queued already.
        :raises LLMError: it was not taken, or not known to be after ``LLM_MAX_RETRIES`` further tries.
        """
        since = time.time() - CLOCKS_DIFFER_S
        more = self._expiring("expires_after")
        file_id = await self._tries.of(lambda: upload(self._connection, _file_name(name), part, **more))
        tries = 0

        async def create() -> Batch:
            nonlocal tries
            tries += 1
            if tries > 1 and (made := await self._find(name, since)):  # only the answer was lost
                return made
            return await self._create(name, file_id, part.by)

        try:
            return (await self._tries.of(create)).id
        except (LLMBusy, LLMRefusesRequest):
            if tries == 1:  # there is no batch for certain, of no try whose answer was lost, and nobody needs its file
                with suppress(LLMError):
                    await self._delete([file_id])
            raise

    async def find(self, name: str, since: float = 0.0) -> Batch | None:
        """The newest batch of this name, None if there is none.

        :param since: Unix seconds; not looked for among batches that are older by more than an hour.
        """
        return await self._tries.of(lambda: self._find(name, since - CLOCKS_DIFFER_S))

    async def made(self, prefix: str, since: float) -> list[Batch]:
        """All batches whose name begins so, the newest first; none that is older than ``since`` by an hour."""

        async def look() -> list[Batch]:
            return [found async for found in self._listed(since - CLOCKS_DIFFER_S) if found.name.startswith(prefix)]

        return await self._tries.of(look)

    async def poll(self, batch_id: str) -> Batch:
        """How it stands.

        :raises LLMBatchUnknown: there is no such batch, or no longer.
        :raises LLMError: that is not known.
        """

        async def retrieve() -> Batch:
            return read_batch(await self._connection.batches.retrieve(batch_id))

        return await self._tries.of(retrieve, is_known=True)

    async def cancel(self, batch_id: str) -> Batch:
        """Have it end; what is done stays. Nothing happens to one that has ended. It takes up to ten minutes.

        :raises LLMBatchUnknown: there is no such batch, or no longer.
        :raises LLMError: it is not known to end.
        """

        async def cancel() -> Batch:
            try:
                return read_batch(await self._connection.batches.cancel(batch_id))
            except (openai.BadRequestError, openai.ConflictError):  # the refusal of one that has ended, or is about to
                found = read_batch(await self._connection.batches.retrieve(batch_id))
                if found.status.has_ended or found.status == "cancelling":
                    return found
                raise

        return await self._tries.of(cancel, is_known=True)

    async def results(self, batch: Batch) -> AsyncIterator[tuple[str, ChatReply | LLMError]]:
        """What became of the requests of a batch that has ended, by their ids, in no order.

        Not all need be among them, and one may come twice: those that never come have no answer. What is refused in a
        row is left out of later requests.

        :raises LLMError: the files cannot be fetched; nothing of that file has been given yet.
        """
        for file_id in filter(None, (batch.output_file, batch.error_file)):
            with TemporaryFile() as file:
                try:
                    await self._tries.of(partial(download, self._connection, file_id, file), is_known=True)
                except LLMBatchUnknown:
                    log.warning("batch %s: file %s is gone, its requests count as not answered", batch.id, file_id)
                    continue
                for line in file:
                    if row := read_row(line):
                        yield row.custom_id, await self._read(row, batch)

    async def cleanup(self, batch: Batch) -> None:
        """Delete a batch's files at the provider, of one that has ended; those that are gone already count as deleted.

        :raises LLMError: some may still be there.
        """
        await self._delete(filter(None, (batch.input_file, batch.output_file, batch.error_file)))

    async def cleanup_input(self, name: str) -> None:
        """Delete what :meth:`submit` has uploaded under ``name``, where no batch was made of it.

        :raises LLMError: it may still be there.
        """

        async def look() -> list[str]:
            return [file_id async for file_id in named(self._connection, _file_name(name))]

        await self._delete(await self._tries.of(look))

    async def _delete(self, file_ids: Iterable[str]) -> None:
        for file_id in file_ids:
            try:
                await self._tries.of(partial(self._connection.files.delete, file_id), is_known=True)
            except LLMBatchUnknown:
                continue

    async def _create(self, name: str, file_id: str, by: str) -> Batch:
        made = await self._connection.batches.create(
            input_file_id=file_id,
            endpoint=self._url,  # type: ignore[arg-type]  # Azure's has no /v1
            completion_window="24h",
            metadata={NAME: name, BY: by},
            **self._expiring("output_expires_after"),
        )
        return read_batch(made)

    def _expiring(self, name: str) -> dict[str, Any]:
        return {} if self._keeps_files else {name: {"anchor": "created_at", "seconds": KEPT_S}}

    async def _find(self, name: str, since: float) -> Batch | None:
        async for found in self._listed(since):
            if found.name == name:
                return found
        return None

    async def _listed(self, since: float) -> AsyncIterator[Batch]:
        """The newest first."""
        async for each in self._connection.batches.list(limit=100):
            found = read_batch(each)
            if found.created_at < since:
                return
            yield found

    async def _read(self, row: Row, batch: Batch) -> ChatReply | LLMError:
        try:
            reply = row.reply()
        except Refused as refused:
            await self._learn(refused.refusal, batch)
            return refused.refusal.as_error(self._target.model)
        except LLMError as error:
            return error
        cost = self._pricing.cost(reply, is_batch=True)
        return replace(reply, model=reply.model or self._target.model, cost=cost)

    async def _learn(self, refusal: Refusal, batch: Batch) -> None:
        """What was refused in a row, as live requests learn it."""
        try:
            by = Capabilities.unpacked(batch.by)
        except (ValueError, TypeError):  # not made by us, or by another release
            return
        if feature := refusal.feature(by.sent(with_length=True, with_logprobs=True)):
            await self._learned.known()
            await self._learned.refused(feature, by, by.without(feature, refusal.words))

    def _written(self, requests: Iterable[tuple[str, ChatRequest]], by: Capabilities) -> Iterable[Written]:
        for custom_id, request in requests:
            yield custom_id, request, chat_body(request, self._model, self._settings.temperature, by)


def _file_name(name: str) -> str:
    return f"prelabel-{name}.jsonl"
