"""Providers with and without a Batch API, and what they do with files."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import pytest

from prelabel.errors import (
    LLMHasNoBatches,
)
from prelabel.llm.exchange import ChatReply
from prelabel.llm.loop import LLM
from tests.fakes.llm_replies import error_body
from tests.fakes.llm_server import Answer, FakeLLM
from tests.integration.batches.calling import Caller, composed, tickets


def test_files_go_by_themselves_if_nobody_comes_back_for_them(llm: FakeLLM, caller: Caller) -> None:
    caller.submit(composed("a refund"))

    [file] = llm.batches.files.stored.values()
    assert file.expires_in_s == 30 * 24 * 3600


@pytest.mark.parametrize(
    ("version", "expires"), [("2024-10-21", False), ("2025-03-01-preview", True), ("2025-04-01-preview", True)]
)
def test_at_azure_they_do_where_its_version_has_that(version: str, expires: bool) -> None:
    with AzureLLM() as llm, closing(LLM(8)) as asking:
        llm.models, llm.batches.endpoint = ("tickets-batch",), "/chat/completions"
        Caller(llm, asking).submit(composed("a refund"), None, "azure", **azure(llm), AZURE_API_VERSION=version)

        [file], [batch] = llm.batches.files.stored.values(), llm.batches.batches.values()
        assert file.asks_to_expire is expires
        assert batch.output_expires_after == ({"anchor": "created_at", "seconds": 30 * 24 * 3600} if expires else None)


def test_a_server_without_a_batch_api_says_so(llm: FakeLLM, caller: Caller) -> None:
    llm.batches.is_there = False

    with pytest.raises(LLMHasNoBatches, match="has no Batch API, ask it live"):
        caller.submit(composed("a refund"))


@pytest.mark.parametrize(
    ("provider", "words"),
    [("openrouter", "OpenRouter has no"), ("ollama", "Ollama has no"), ("anthropic", "another protocol")],
)
def test_a_provider_without_a_batch_api_is_not_even_asked(
    llm: FakeLLM, caller: Caller, provider: str, words: str
) -> None:
    with pytest.raises(LLMHasNoBatches, match=words):
        caller.poll("batch_1", OPENAI_PROVIDER=provider)
    assert llm.batches.requests == []


class AzureLLM(FakeLLM):
    """The fake at Azure's addresses, for a deployment that answers batches alone."""

    def respond(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Any:
        if not path.startswith("/openai/") or "api-version=" not in path:
            return super().respond(method, path, headers, body)
        if "/chat/completions" in path:
            words = "The chatCompletion operation does not work with the specified model."
            return Answer(400, error_body(words, code="OperationNotSupported"))
        key = {**headers, "authorization": f"Bearer {headers['api-key']}"}
        return super().respond(method, path.replace("/openai/", "/v1/", 1), key, body)


def azure(llm: FakeLLM) -> dict[str, str]:
    return {
        "OPENAI_PROVIDER": "azure",
        "OPENAI_BASE_URL": "",
        "AZURE_RESOURCE_ENDPOINT": llm.url.removesuffix("/v1"),
        "AZURE_DEPLOYMENT_NAME": "tickets-batch",
    }


def test_azure_is_asked_by_its_deployment_under_its_own_addresses() -> None:
    with AzureLLM() as llm:
        llm.models, llm.batches.endpoint = ("tickets-batch",), "/chat/completions"
        asking = LLM(8)
        caller, made = Caller(llm, asking), composed(*tickets(6))
        env = azure(llm)
        tried = caller.run(lambda batches: batches.try_out(made["r0"].request), **env)
        batch = caller.poll(caller.submit(made, None, "azure", **env)[0], **env)
        rows = caller.results(batch, **env)
        caller.cleanup(batch, **env)
        asking.close()

        assert (tried, batch.status, batch.problem) == (None, "completed", None)
        assert [type(answer) for _, answer in rows] == [ChatReply, ChatReply]
        assert llm.batches.files.stored == {}
