"""What LLM servers answer when they do not answer: read from status and body, and turned into our errors.

The one place that knows vendors' errors. Servers repeat prompts and keys in their messages, so these are looked at and
never passed on; what is told is the status and the code, where it is one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import openai

from prelabel.errors import (
    LLMBatchUnknown,
    LLMBusy,
    LLMError,
    LLMHasNoBatches,
    LLMQueueFull,
    LLMRefusesContent,
    LLMRefusesForm,
    LLMRefusesRequest,
    LLMUnavailable,
)
from prelabel.llm.rate_headers import retry_after_s

UPSTREAM = 502
"""The status of an error within a completion, or within a row of a batch, that names none."""
LONGEST_WORDS = 600
"""Characters of a message that are looked at: what is the matter stands at its beginning, a repeated prompt later."""
_UNSENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})
"""Of the HTTP client's errors those before anything was sent."""
_GATEWAY_TIMEOUTS = frozenset({504, 524})
"""A gateway waited no longer for the server behind it, which may have gone on."""
_CODE = re.compile(r"[\w.-]{1,60}")
_CONTENT_CODES = frozenset(
    {"content_filter", "content_policy_violation", "context_length_exceeded", "string_above_max_length"}
    | {"exceed_context_size_error", "invalid_prompt"}
)
_CONTENT_WORDS = re.compile(r"(maximum|exceeds?.{0,40}) context (length|size|window)|prompt is too long")
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "insufficient_balance"})
_QUOTA_WORDS = re.compile(r"exceeded your current quota|insufficient (balance|credits)|credit balance is too low")
_MODEL_CODES = frozenset({"model_not_found", "invalid_model", "model_not_supported", "deploymentnotfound"})
_MODEL_WORDS = re.compile(
    r"(not a valid|invalid|unknown) model|model .{0,80}(does not exist|not found|is not supported)"
)
_QUEUE_CODES = frozenset({"token_limit_exceeded", "request_limit_exceeded"})
_QUEUE_WORDS = re.compile(r"enqueued (token|request)s?\b.{0,40}(limit|surpassed)")
"""OpenAI's "Enqueued token limit reached for ...", Azure's "The number of enqueued tokens has surpassed ..."."""
_PASSING = frozenset({408, 409, 425, 429, 498, 499})
_FEATURES = {
    "form": re.compile(r"response_?\s?format|json_schema|json_object|structured[ _]outputs?|guided_json|grammar"),
    "temperature": re.compile(r"\btemperature\b"),
    "length": re.compile(r"max_tokens|max_completion_tokens"),
    "logprobs": re.compile(r"logprobs"),
}
"""What of a request a server may refuse, and how it calls it."""
_NAMES_A_FEATURE = frozenset({400, 403, 404, 422, 500, 501})
"""Statuses under which servers have been seen to say so: 403 is OpenAI's for the logprobs of o4-mini, 500 that of
ik_llama.cpp for ``response_format``."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no completion."""

    status: int
    code: str = ""
    """A word for programs, empty where there is none."""
    param: str = ""
    words: str = field(default="", repr=False)
    """What the message begins with, in lower case; never shown, since it may repeat the prompt."""
    is_moderated: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, error: openai.APIStatusError) -> "Refusal":
        """:param error: its body is what stood under ``error`` where there was such a thing, else all."""
        return cls.of(error.status_code, error.body, error.response.headers)

    @classmethod
    def of(cls, status: int, body: object, headers: Mapping[str, str]) -> "Refusal":
        """:param body: an object, a list or a text, as servers have it."""
        said = body if isinstance(body, Mapping) else {}
        words = _words(body)[:LONGEST_WORDS].lower()
        code = _word(said.get("code")) or _word(said.get("type"))
        if code == str(status):  # OpenRouter and vLLM repeat the status there
            code = _word(said.get("type"))
        return cls(status, code, _word(said.get("param")), words, "metadata" in said and status == 403, headers)

    def feature(self, sent: frozenset[str]) -> str:
        """Which of the features that were sent is refused, empty if it is none of them.

        A stated parameter counts before words, and of several in words the first. vLLM names ``max_tokens`` where the
        prompt leaves no room for it, which is about the prompt.
        """
        if self.status not in _NAMES_A_FEATURE or self._is_about_content:
            return ""
        for text in filter(None, (self.param.lower(), self.words)):
            named = {name: match.start() for name in sent if (match := _FEATURES[name].search(text))}
            if named:
                return min(named, key=lambda name: named[name])
        return ""

    @property
    def _is_about_content(self) -> bool:
        return self.code.lower() in _CONTENT_CODES or bool(_CONTENT_WORDS.search(self.words))

    @property
    def is_unexplained(self) -> bool:
        """Whether anything in the request may be the cause."""
        return self.status == 500 or (self.status in {400, 422} and not self.words.strip())

    def as_error(self, model: str) -> LLMError:
        """:param model: as the settings call it."""
        told = f"the LLM's server answered {self.status} ({self.code or 'no code'})"
        code = self.code.lower()
        if self.is_moderated:
            return LLMRefusesContent(told)
        if self.status == 402 or code in _QUOTA_CODES or _QUOTA_WORDS.search(self.words):
            return LLMRefusesRequest(f"{told}: the account's quota or balance is used up")
        if self.status in {401, 403}:
            return LLMRefusesRequest(f"{told}: check OPENAI_API_KEY and what it may use")
        if self.status == 404:
            return LLMRefusesRequest(f"{told}: check OPENAI_MODEL={model} and OPENAI_BASE_URL")
        if self.status == 429:
            return LLMBusy(told, retry_after_s=retry_after_s(self.headers))
        if self.status in _PASSING or self.status >= 500:
            found = LLMUnavailable(told, retry_after_s=retry_after_s(self.headers))
            found.lost_tries = 1 if self.status in _GATEWAY_TIMEOUTS else 0
            return found
        if self.status == 413 or self._is_about_content:
            return LLMRefusesContent(told)
        if code in _MODEL_CODES or _MODEL_WORDS.search(self.words):
            return LLMRefusesRequest(f"{told}: check OPENAI_MODEL={model} and OPENAI_BASE_URL")
        return LLMRefusesForm(f"{told}{f', parameter {self.param}' if self.param else ''}")

    def as_batch_error(self, model: str, *, is_known: bool) -> LLMError:
        """What is the matter with a call to the Batch API itself.

        :param is_known: it names a batch, so that a 404 is about that and not about the API.
        """
        told = f"the LLM's server answered {self.status} ({self.code or 'no code'})"
        if self._is_queue_full:
            return LLMQueueFull(f"{told}: too much is queued in batches already")
        if self.status == 404 and is_known:
            return LLMBatchUnknown(f"{told}: it knows no such batch; was it made with another OPENAI_API_KEY?")
        if self.status in {404, 405, 501}:
            return LLMHasNoBatches(f"{told}: it has no Batch API, ask it live")
        if self.status == 413:
            return LLMRefusesRequest(f"{told}: the batch's file is too large for it")
        return self.as_error(model)

    def as_batch_failure(self, line: object) -> LLMError:
        """Why a whole batch failed, of whose reasons this is the first.

        :param line: of its file, where it is about one.
        """
        if self._is_queue_full:
            return LLMQueueFull("the batch failed: too much is queued in batches already")
        where = f" in line {line}" if isinstance(line, int) else ""
        return LLMRefusesRequest(f"the batch failed ({self.code or 'no code'}{where})")

    def as_row_error(self) -> LLMError:
        """Why a row of a batch has no response: it expired, was cancelled or timed out."""
        told = f"the request was not answered in its batch ({self.code or 'no code'})"
        return LLMRefusesRequest(told) if self.code.lower() in _QUOTA_CODES else LLMUnavailable(told)

    @property
    def _is_queue_full(self) -> bool:
        return self.code.lower() in _QUEUE_CODES or bool(_QUEUE_WORDS.search(self.words))


class Refused(Exception):
    """The server refused; caught in this package, where it becomes one of our errors or another try."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


def unanswered(error: openai.OpenAIError, timeout_s: float) -> LLMError:
    """What is the matter where there is no answer, or none that is HTTP."""
    cause = type(error.__cause__).__name__
    if isinstance(error, openai.APITimeoutError):
        found = LLMUnavailable(f"the LLM gave no answer within LLM_TIMEOUT={timeout_s:g} s")
    elif isinstance(error, openai.APIConnectionError):
        found = LLMUnavailable(f"the LLM's server cannot be reached ({cause})")
    else:
        found = LLMUnavailable(f"the LLM's server sent what is no answer ({type(error).__name__})")
    found.lost_tries = 0 if cause in _UNSENT else 1
    return found


def _word(value: object) -> str:
    """``value`` if it is a code or a name, else nothing."""
    return str(value) if value is not None and _CODE.fullmatch(str(value)) else ""


def _words(body: Any) -> str:
    """What a body says for people: OpenAI's ``message``, FastAPI's ``detail``, OpenRouter's upstream error."""
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return " ".join(map(_words, body))
    if not isinstance(body, Mapping):
        return ""
    loc = body.get("loc")
    place = ".".join(map(str, loc)) if isinstance(loc, list) else ""
    upstream = body.get("metadata")
    raw = upstream.get("raw") if isinstance(upstream, Mapping) else ""
    said = (body.get(name) for name in ("message", "msg", "detail", "error"))
    return " ".join(filter(None, (place, *map(_words, said), _words(raw))))
