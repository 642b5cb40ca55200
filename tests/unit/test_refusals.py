"""Bodies that real servers were reported to send, in issues of projects that met them; and what they mean."""

import json
from typing import Any

import openai
import pytest

from prelabel.errors import (
    LLMBusy,
    LLMError,
    LLMRefusesContent,
    LLMRefusesForm,
    LLMRefusesRequest,
    LLMUnavailable,
)
from prelabel.llm.rate_headers import retry_after_s
from prelabel.llm.refusals import Refusal

ALL = frozenset({"form", "temperature", "length", "logprobs"})


def body_of(text: str) -> Any:
    """As OpenAI's client hands it on: what stands under ``error``, where there is such a thing."""
    try:
        body = json.loads(text)
    except ValueError:
        return text
    return body.get("error", body) if isinstance(body, dict) else body


FEATURES = {
    "OpenAI: max_tokens": (
        400,
        '{"error": {"message": "Unsupported parameter: \'max_tokens\' is not supported with this model. Use '
        '\'max_completion_tokens\' instead.", "type": "invalid_request_error", "param": "max_tokens", '
        '"code": "unsupported_parameter"}}',
        "length",
    ),
    "Copilot's gateway: max_tokens without param": (
        400,
        '{"error": {"message": "Unsupported parameter: \'max_tokens\' is not supported with this model. Use '
        '\'max_completion_tokens\' instead.", "code": "invalid_request_body"}}',
        "length",
    ),
    "OpenAI: temperature": (
        400,
        '{"error": {"message": "Unsupported value: \'temperature\' does not support 0 with this model. Only the default'
        ' (1) value is supported.", "type": "invalid_request_error", "param": "temperature", '
        '"code": "unsupported_value"}}',
        "temperature",
    ),
    "Anthropic: temperature": (
        400,
        '{"error": {"type": "invalid_request_error", "message": "`temperature` is deprecated for this model."}}',
        "temperature",
    ),
    "LiteLLM, before Anthropic": (
        400,
        '{"error": {"message": "litellm.BadRequestError: AnthropicException - b\'{\\"type\\":\\"error\\",\\"error\\":'
        '{\\"type\\":\\"invalid_request_error\\",\\"message\\":\\"`temperature` is deprecated for this model.\\"}}\'No '
        'fallback model group found", "type": null, "param": null, "code": "400"}}',
        "temperature",
    ),
    "OpenAI: json_schema": (
        400,
        '{"error": {"message": "Invalid parameter: \'response_format\' of type \'json_schema\' is not supported with '
        'this model.", "type": "invalid_request_error", "param": "response_format", "code": null}}',
        "form",
    ),
    "Azure: json_schema by API version": (
        400,
        '{"error": {"message": "response_format value as json_schema is enabled only for api versions '
        '2024-08-01-preview and later", "type": "", "param": "", "code": "BadRequest"}}',
        "form",
    ),
    "DeepSeek": (
        400,
        '{"error":{"message":"This response_format type is unavailable now","type":"invalid_request_error",'
        '"param":null,"code":"invalid_request_error"}}',
        "form",
    ),
    "DeepSeek, earlier": (
        422,
        "Failed to deserialize the JSON body into the target type: response_format: response_format.type `json_schema`"
        " is unavailable now at line 1 column 12440",
        "form",
    ),
    "LM Studio": (400, "{\"error\":\"'response_format.type' must be 'json_schema' or 'text'\"}", "form"),
    "xAI": (
        400,
        '{"code": "Client specified an invalid argument", "error": "The response_format parameter is unsupported at '
        'the moment. Leave it unset."}',
        "form",
    ),
    "ik_llama.cpp": (
        500,
        '{"error": {"code": 500, "message": "response_format type must be one of \\"text\\" or \\"json_object\\", but '
        'got: json_schema", "type": "server_error"}}',
        "form",
    ),
    "llama-cpp-python": (
        500,
        "{\"error\": {\"message\": \"[{'type': 'literal_error', 'loc': ('body', 'response_format', 'type'), "
        '\'msg\': \\"Input should be \'text\' or \'json_object\'\\"}]", "type": "internal_server_error", '
        '"param": null, "code": null}}',
        "form",
    ),
    "FastAPI": (
        422,
        '{"detail": [{"type": "literal_error", "loc": ["body", "response_format", "type"], "msg": "Input should be '
        '\'text\' or \'json_object\'", "input": "json_schema"}]}',
        "form",
    ),
    "vLLM, before 0.10": (
        400,
        '{"object": "error", "message": "json_schema_extra is not valid: the grammar cannot be compiled", '
        '"type": "BadRequestError", "param": null, "code": 400}',
        "form",
    ),
    "vLLM": (
        400,
        '{"error": {"message": "json_schema must be provided", "type": "BadRequestError", '
        '"param": "response_format", "code": 400}}',
        "form",
    ),
    "OpenRouter, before a provider": (
        400,
        '{"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": "{\\"error\\": '
        '{\\"message\\": \\"The compiled grammar is too large\\"}}", "provider_name": "Azure"}}}',
        "form",
    ),
    "OpenAI: logprobs": (
        403,
        '{"error": {"message": "You are not allowed to request logprobs from this model", '
        '"type": "invalid_request_error", "param": null, "code": null}}',
        "logprobs",
    ),
    "Gemini: logprobs": (
        400,
        '{"error": {"code": 400, "message": "Logprobs is not enabled for models/gemini-2.5-pro", '
        '"status": "INVALID_ARGUMENT"}}',
        "logprobs",
    ),
    "llama-cpp-python: logprobs": (
        500,
        '{"error": {"message": "logprobs is not supported for models created with logits_all=False", '
        '"type": "internal_server_error", "param": null, "code": null}}',
        "logprobs",
    ),
    "LiteLLM, before Ollama: logprobs": (
        400,
        '{"error": {"message": "litellm.UnsupportedParamsError: ollama_chat does not support parameters: '
        "['logprobs'], for model=llama3.1:70b. To drop these, set `litellm.drop_params=True`\", "
        '"type": "None", "param": null, "code": "400"}}',
        "logprobs",
    ),
    "a 429 names no feature": (429, '{"error": {"message": "max_tokens of all requests this minute"}}', ""),
    "a prompt that is too long": (
        400,
        '{"error": {"message": "This model\'s maximum context length is 8192 tokens. However, you requested 9000 '
        'tokens: reduce max_tokens", "type": "invalid_request_error", "code": "context_length_exceeded"}}',
        "",
    ),
    "nothing": (500, "", ""),
}

KINDS: dict[str, tuple[int, str, type[LLMError]]] = {
    "OpenAI: quota": (
        429,
        '{"error": {"message": "You exceeded your current quota, please check your plan and billing details.", '
        '"type": "insufficient_quota", "param": null, "code": "insufficient_quota"}}',
        LLMRefusesRequest,
    ),
    "DeepSeek: balance": (402, '{"error": {"message": "Insufficient Balance"}}', LLMRefusesRequest),
    "Anthropic: balance": (
        400,
        '{"error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the '
        'Anthropic API."}}',
        LLMRefusesRequest,
    ),
    "OpenRouter: credits": (402, '{"error": {"code": 402, "message": "Insufficient credits"}}', LLMRefusesRequest),
    "OpenAI: key": (
        401,
        '{"error": {"message": "Incorrect API key provided: sk-***", "code": "invalid_api_key"}}',
        LLMRefusesRequest,
    ),
    "OpenAI: model": (404, '{"error": {"message": "...", "code": "model_not_found"}}', LLMRefusesRequest),
    "Ollama: model": (
        404,
        '{"error": {"message": "model \\"ollama\\" not found, try pulling it first", "type": "api_error", '
        '"param": null, "code": null}}',
        LLMRefusesRequest,
    ),
    "OpenRouter: model": (400, '{"error": {"message": "a/b is not a valid model ID", "code": 400}}', LLMRefusesRequest),
    "OpenRouter: moderation": (
        403,
        '{"error": {"code": 403, "message": "flagged", "metadata": {"reasons": [], "flagged_input": "..."}}}',
        LLMRefusesContent,
    ),
    "Azure: filter": (
        400,
        '{"error": {"message": "The response was filtered", "type": null, "param": "prompt", '
        '"code": "content_filter", "status": 400}}',
        LLMRefusesContent,
    ),
    "vLLM: length": (
        400,
        '{"object": "error", "message": "This model\'s maximum context length is 4096 tokens. However, you requested '
        '5000 tokens.", "type": "BadRequestError", "param": null, "code": 400}',
        LLMRefusesContent,
    ),
    "vLLM: no room for max_tokens": (
        400,
        "{\"error\": {\"message\": \"'max_tokens' or 'max_completion_tokens' is too large: 500. This model's maximum "
        'context length is 4096 tokens and your request has 4000 input tokens.", "type": "BadRequestError", '
        '"param": "max_tokens", "code": 400}}',
        LLMRefusesContent,
    ),
    "llama.cpp: length": (
        400,
        '{"error": {"code": 400, "message": "the request exceeds the available context size", '
        '"type": "exceed_context_size_error"}}',
        LLMRefusesContent,
    ),
    "OpenAI: too many": (
        429,
        '{"error": {"message": "Rate limit reached for gpt-4o-mini on requests per min (RPM)", "type": "requests", '
        '"param": null, "code": "rate_limit_exceeded"}}',
        LLMBusy,
    ),
    "Anthropic: overloaded": (529, '{"error": {"type": "overloaded_error", "message": "Overloaded"}}', LLMUnavailable),
    "a proxy": (502, "<html><h1>502 Bad Gateway</h1></html>", LLMUnavailable),
    "vLLM: an empty 500": (
        500,
        '{"error":{"message":"","type":"InternalServerError","param":null,"code":500}}',
        LLMUnavailable,
    ),
    "whatever else": (400, '{"error": {"message": "no", "code": "odd"}}', LLMRefusesForm),
    "a list": (400, '["no"]', LLMRefusesForm),
}


@pytest.mark.parametrize("server", FEATURES)
def test_the_refused_feature_is_recognised(server: str) -> None:
    status, body, feature = FEATURES[server]

    assert Refusal.of(status, body_of(body), {}).feature(ALL) == feature


def test_a_feature_that_was_not_sent_is_not_refused() -> None:
    refusal = Refusal.of(400, {"message": "`temperature` is deprecated", "param": "temperature"}, {})

    assert refusal.feature(ALL - {"temperature"}) == ""


@pytest.mark.parametrize("server", [server for server, (_, _, kind) in KINDS.items() if kind is LLMRefusesContent])
def test_what_is_about_a_text_is_not_about_a_feature(server: str) -> None:
    status, body, _ = KINDS[server]

    assert Refusal.of(status, body_of(body), {}).feature(ALL) == ""


def test_a_prompt_that_is_repeated_far_into_a_message_names_nothing() -> None:
    assert Refusal.of(400, {"message": "Bad input: " + "x" * 700 + " my temperature is high"}, {}).feature(ALL) == ""


@pytest.mark.parametrize("server", KINDS)
def test_each_refusal_is_of_one_kind(server: str) -> None:
    status, body, kind = KINDS[server]

    assert type(Refusal.of(status, body_of(body), {}).as_error("m")) is kind


@pytest.mark.parametrize("server", FEATURES)
def test_a_message_is_never_passed_on(server: str) -> None:
    status, body, _ = FEATURES[server]
    refusal = Refusal.of(status, body_of(body), {})

    assert "requests this minute" not in str(refusal.as_error("m"))
    assert "is not" not in f"{refusal!r}{refusal.as_error('m')}"


def test_a_429_carries_the_pause_that_is_asked_for() -> None:
    error = Refusal.of(429, "", {"retry-after-ms": "250"}).as_error("m")

    assert isinstance(error, LLMBusy)
    assert error.retry_after_s == 0.25


def test_what_openais_client_raises_is_read() -> None:
    import httpx2

    request = httpx2.Request("POST", "http://llm.invalid/v1/chat/completions")
    response = httpx2.Response(400, request=request, headers={"retry-after": "3"})
    error = openai.BadRequestError("...", response=response, body={"param": "temperature", "message": "no"})

    refusal = Refusal.read(error)

    assert (refusal.status, refusal.feature(ALL), retry_after_s(refusal.headers)) == (400, "temperature", 3.0)
