"""The one door to an LLM's server: messages and a schema in, a reply out, over OpenAI's protocol.

Every provider here speaks it. Vendor errors are translated in ``_translate`` and nowhere else; what may pass by itself
is tried again with growing random pauses, what would be refused again is not.
"""

import asyncio
import logging
import re
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import openai
from openai.types.chat import ChatCompletion
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from prelabel.config import Settings
from prelabel.core.prompt import Message
from prelabel.errors import LLMError, LLMRefusesContent, LLMRefusesForm, LLMRefusesRequest, LLMUnavailable

log = logging.getLogger(__name__)

_CONTENT_CODES = frozenset(
    {"content_filter", "content_policy_violation", "context_length_exceeded", "string_above_max_length"}
    | {"exceed_context_size_error", "invalid_prompt"}
)
_CODE = re.compile(r"[\w.-]{1,60}")
_LOGGED_EVERY_S = 10.0
EMPTY = "the LLM's reply is empty"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 20.0


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request: its messages and the JSON schema that the reply must follow."""

    messages: Sequence[Message]
    schema: dict[str, Any] = field(hash=False)
    max_tokens: int | None = None
    """Most tokens that the reply may have; None for as many as the server allows."""


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What came back. ``problem`` says why there is no whole reply, empty if there is one."""

    text: str
    problem: str = ""
    is_final: bool = True
    """Whether asking again about the same would not help."""
    is_cut_off: bool = False
    """Whether it ended at ``max_tokens``, or at the server's own limit."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    """US dollars; None where the price is unknown."""
    model: str = ""
    """Which model answered."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an LLM is and by which key: what one connection pool serves."""

    provider: str
    base_url: str
    key: str = field(repr=False)
    deployment: str
    api_version: str
    timeout_s: float

    @classmethod
    def of(cls, settings: Settings) -> "Endpoint":
        """:raises LLMRefusesRequest: no LLM is configured."""
        provider = settings.openai_provider
        if provider == "local":
            raise LLMRefusesRequest("no LLM is configured: set OPENAI_API_KEY, or OPENAI_BASE_URL for your own server")
        return cls(
            provider=provider,
            base_url=settings.llm_url,
            key=settings.openai_api_key.get_secret_value() if settings.openai_api_key else "none",
            deployment=settings.azure_deployment_name or "",
            api_version=settings.azure_api_version,
            timeout_s=settings.llm_timeout,
        )

    def connect(self) -> openai.AsyncOpenAI:
        """A client that tries once: pauses and further tries are :class:`ChatClient`'s."""
        if self.provider == "azure":
            return openai.AsyncAzureOpenAI(
                api_key=self.key,
                azure_endpoint=self.base_url,
                azure_deployment=self.deployment,
                api_version=self.api_version,
                timeout=self.timeout_s,
                max_retries=0,
            )
        return openai.AsyncOpenAI(api_key=self.key, base_url=self.base_url, timeout=self.timeout_s, max_retries=0)


class ChatClient:
    """A model at an endpoint; used on the loop that its connections belong to.

    :param slots: each is held while a request is in flight; clients that share them share how many there may be.
    """

    def __init__(self, client: openai.AsyncOpenAI, settings: Settings, slots: Sequence[asyncio.Semaphore]) -> None:
        self._client = client
        self._settings = settings
        self._slots = slots

    async def complete(self, request: ChatRequest) -> ChatReply:
        """:raises LLMError: refused, or still unavailable after ``LLM_MAX_RETRIES`` further tries."""
        attempts = AsyncRetrying(
            stop=stop_after_attempt(1 + self._settings.llm_max_retries),
            wait=_pause,
            before_sleep=_tell,
            retry=retry_if_exception_type(LLMUnavailable),
            reraise=True,
        )
        return await attempts(self._attempt, request)

    async def _attempt(self, request: ChatRequest) -> ChatReply:
        settings = self._settings
        async with AsyncExitStack() as held:
            for slot in self._slots:
                await held.enter_async_context(slot)
            try:
                completion = await self._client.chat.completions.create(
                    model=settings.openai_model,
                    messages=[_message(message) for message in request.messages],
                    temperature=settings.temperature,
                    response_format={
                        "type": "json_schema",
                        "json_schema": {"name": "answers", "strict": True, "schema": request.schema},
                    },
                )
            except openai.OpenAIError as error:
                raise _translate(error, settings) from error
            except ValueError as error:
                raise LLMUnavailable("the LLM's server sent what is no JSON") from error
        try:
            return _read(completion)
        except (AttributeError, TypeError, LookupError) as error:  # OpenAI's client checks no reply's shape
            raise LLMUnavailable("the LLM's server sent what is no chat completion: check OPENAI_BASE_URL") from error


def _message(message: Message) -> Any:
    return {"role": message.role, "content": message.content}


def _read(completion: ChatCompletion) -> ChatReply:
    """A server's reply, of which a careless one may leave out anything; a gateway's HTML page comes as a plain text."""
    count = partial(_counted, completion)
    if not completion.choices:
        return count(text="", problem=EMPTY, is_final=False)
    choice = completion.choices[0]
    content = choice.message.content if choice.message else None
    if isinstance(content, list):  # some servers send a list of parts
        content = "".join(part["text"] for part in content if isinstance(part, dict) and "text" in part)
    text = content if isinstance(content, str) else ""
    if choice.finish_reason == "content_filter" or (choice.message and choice.message.refusal):
        return count(text="", problem="the LLM refused to answer")
    if choice.finish_reason == "length":
        return count(text=text, problem="the LLM's reply was cut off", is_cut_off=True)
    return count(text=text) if text.strip() else count(text="", problem=EMPTY, is_final=False)


def _counted(completion: ChatCompletion, **read: Any) -> ChatReply:
    usage = completion.usage
    details = usage.prompt_tokens_details if usage else None
    return ChatReply(
        **read,
        prompt_tokens=(usage.prompt_tokens or 0) if usage else 0,
        cached_tokens=(details.cached_tokens or 0) if details else 0,
        completion_tokens=(usage.completion_tokens or 0) if usage else 0,
        model=str(completion.model or ""),
    )


def _translate(error: openai.OpenAIError, settings: Settings) -> LLMError:
    """A vendor's error to ours. Its message is left out, and a code that is none: servers repeat prompts and keys."""
    if isinstance(error, openai.APITimeoutError):
        return LLMUnavailable(f"the LLM gave no answer within LLM_TIMEOUT={settings.llm_timeout:g} s")
    if isinstance(error, openai.APIConnectionError):
        return LLMUnavailable(f"the LLM's server cannot be reached ({type(error.__cause__).__name__})")
    if not isinstance(error, openai.APIStatusError):
        return LLMUnavailable(f"the LLM's server sent what is no answer ({type(error).__name__})")
    status, code = error.status_code, _word(error.code) or _word(error.type) or "no code"
    told = f"the LLM's server answered {status} ({code})"
    if status == 403 and _is_moderated(error):
        return LLMRefusesContent(told)
    if status in {401, 403}:
        return LLMRefusesRequest(f"{told}: check OPENAI_API_KEY and what it may use")
    if status == 402 or code == "insufficient_quota":
        return LLMRefusesRequest(f"{told}: the account's quota or balance is used up")
    if status == 404:
        return LLMRefusesRequest(f"{told}: check OPENAI_MODEL={settings.openai_model} and OPENAI_BASE_URL")
    if status in {408, 409, 425, 429} or status >= 500:
        return LLMUnavailable(told, retry_after_s=_retry_after_s(error))
    if status == 413 or code in _CONTENT_CODES:
        return LLMRefusesContent(told)
    return LLMRefusesForm(f"{told}{f', parameter {_word(error.param)}' if _word(error.param) else ''}")


def _word(value: object) -> str:
    """``value`` if it is a code or a name, else nothing."""
    return str(value) if value is not None and _CODE.fullmatch(str(value)) else ""


def _is_moderated(error: openai.APIStatusError) -> bool:
    """OpenRouter answers 403 with ``metadata`` where a moderation model objects to the input (its documentation)."""
    return isinstance(error.body, dict) and "metadata" in error.body


def _retry_after_s(error: openai.APIStatusError) -> float:
    for header, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(error.response.headers[header]) * unit_s)
        except (KeyError, ValueError):
            continue
    return 0.0


_jittered = wait_random_exponential(multiplier=_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S)


def _pause(state: RetryCallState) -> float:
    """Seconds until the next try: what the server asks for, but never less than a growing random pause."""
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.retry_after_s if isinstance(error, LLMUnavailable) else 0.0
    return max(asked_s, _jittered(state))


_told_at: dict[str, float] = {}


def _tell(state: RetryCallState) -> None:
    """Log what is being waited out, but not for each of a thousand requests."""
    trouble = str(state.outcome.exception() if state.outcome else "")
    if time.monotonic() - _told_at.get(trouble, float("-inf")) > _LOGGED_EVERY_S:
        _told_at[trouble] = time.monotonic()
        log.warning("%s; trying again, now in %.1f s", trouble, state.upcoming_sleep)
