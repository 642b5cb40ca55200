"""What a test may order the fake LLM server to send, and the bodies in which OpenAI would send it."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.fakes.llm_request import Asked
from tests.fakes.llm_tokens import USUAL, logprobs_body


@dataclass(frozen=True, slots=True)
class Fault:
    """An HTTP answer that is no completion; without a body, OpenAI's usual error of this status."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | str | None = None


@dataclass(frozen=True, slots=True)
class Hang:
    """The usual answer, so many seconds late."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection closed without an answer."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A completion in which the model declines."""

    text: str


@dataclass(frozen=True, slots=True)
class CutOff:
    """A completion that ended at the token limit, having got as far as ``text``."""

    text: str


@dataclass(frozen=True, slots=True)
class WithoutLogprobs:
    """A completion of this content, without logprobs though they were asked for."""

    text: str


Completion = str | Refusal | CutOff | WithoutLogprobs
"""A bare text is the content of an ordinary completion."""


@dataclass(frozen=True, slots=True)
class Twist:
    """What the honest reply to a request is made into."""

    make: Callable[[str, Asked], Completion | Fault]


Reply = Completion | Fault | Hang | Drop | Twist
CHARACTERS_A_TOKEN = 4

_USUAL_ERRORS = {
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided: test-***."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for gpt-4o-mini on requests per min (RPM)."),
    500: ("server_error", None, "The server had an error while processing your request. Sorry about that!"),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}
_numbers = count(1)


def error_body(
    message: str, *, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def usual_error(status: int) -> dict[str, Any]:
    kind, code, message = _USUAL_ERRORS.get(status, ("invalid_request_error", None, f"The request got {status}."))
    return error_body(message, kind=kind, code=code)


def without_usage(asked: Asked) -> Fault:
    """A completion that answers nothing and tells no tokens."""
    body = {key: value for key, value in completion_body(asked, "{}").items() if key != "usage"}
    return Fault(200, body=body)


def completion_body(
    asked: Asked,
    completion: Completion,
    *,
    believed: Mapping[int, float] | None = None,
    tokens: re.Pattern[str] | None = USUAL,
    thinks: int = 0,
) -> dict[str, Any]:
    """A whole chat completion object, with token counts at four characters a token.

    :param believed: by ticket number, how probable its labels are.
    :param tokens: matches one after the other of those whose logprobs are told; None where the server tells none.
    """
    completion = _within_limit(completion, asked.body)
    text = completion if isinstance(completion, str) else completion.text
    content, refusal = (None, text) if isinstance(completion, Refusal) else (text, None)
    is_asked = asked.body.get("logprobs") and not isinstance(completion, WithoutLogprobs)
    prompt_tokens = sum(len(message["content"]) for message in asked.messages) // CHARACTERS_A_TOKEN
    completion_tokens = len(text) // CHARACTERS_A_TOKEN + thinks
    return {
        "id": f"chatcmpl-{next(_numbers)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked.model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, "refusal": refusal, "annotations": []},
                "logprobs": logprobs_body(content or "", believed or {}, tokens) if is_asked and tokens else None,
                "finish_reason": "length" if isinstance(completion, CutOff) else "stop",
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": thinks, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }


def _within_limit(completion: Completion, body: Mapping[str, Any]) -> Completion:
    """``completion``, cut off where it is longer than the request allows."""
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    if limit is None or isinstance(completion, Refusal):
        return completion
    text = completion if isinstance(completion, str) else completion.text
    return CutOff(text[: limit * CHARACTERS_A_TOKEN]) if len(text) > limit * CHARACTERS_A_TOKEN else completion


def models_body(names: tuple[str, ...]) -> dict[str, Any]:
    models = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "fake"} for name in names]
    return {"object": "list", "data": models}
