"""A chat completion to a reply, of which a careless server may leave out anything."""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from openai.types.chat import ChatCompletion
from openai.types.chat.chat_completion import Choice

from prelabel.errors import LLMUnavailable
from prelabel.llm.exchange import ChatReply
from prelabel.llm.pricing import stated_cost
from prelabel.llm.refusals import UPSTREAM, Refusal, Refused

EMPTY = "the LLM's reply is empty"


def read_reply(completion: ChatCompletion, headers: Mapping[str, str]) -> ChatReply:
    """
    :raises Refused: it holds an error in place of an answer.
    :raises LLMUnavailable: it is no chat completion.
    """
    try:
        return read_completion(completion, headers)
    except (AttributeError, TypeError, LookupError) as error:  # a gateway's HTML page comes as a plain text
        raise LLMUnavailable("the LLM's server sent what is no chat completion: check OPENAI_BASE_URL") from error


def read_completion(completion: ChatCompletion, headers: Mapping[str, str]) -> ChatReply:
    """
    :raises Refused: it holds an error in place of an answer, as OpenRouter's do where a model failed midway.
    :raises AttributeError, TypeError, LookupError: it is no chat completion; OpenAI's client checks no reply's shape.
    """
    count = partial(_counted, completion)
    if not completion.choices:
        _check(completion, headers)
        return count(text="", problem=EMPTY)
    choice = completion.choices[0]
    _check(choice, headers)
    content: Any = choice.message.content if choice.message else None
    if isinstance(content, list):  # some servers send a list of parts
        content = "".join(part["text"] for part in content if isinstance(part, dict) and "text" in part)
    text = content if isinstance(content, str) else ""
    count = partial(count, logprobs=_logprobs(choice))
    if choice.finish_reason == "content_filter" or (choice.message and choice.message.refusal):
        return count(text="", problem="the LLM refused to answer", is_refusal=True)
    if choice.finish_reason == "length":
        return count(text=text, problem="the LLM's reply was cut off", is_cut_off=True)
    return count(text=text) if text.strip() else count(text="", problem=EMPTY)


def _check(part: ChatCompletion | Choice, headers: Mapping[str, str]) -> None:
    """An ``error`` in a body of status 200 (https://openrouter.ai/docs/api/reference/errors-and-debugging)."""
    error = (part.model_extra or {}).get("error")
    if error:
        code = error.get("code") if isinstance(error, Mapping) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else UPSTREAM
        raise Refused(Refusal.of(status, error, headers))


def _logprobs(choice: Choice) -> tuple[tuple[str, float], ...] | None:
    """Tokens with their log probabilities; None too where they are no such thing, as in the form that OpenAI gave up in
    2023: nobody does without an answer for that.
    """
    told: Any = choice.logprobs
    with suppress(AttributeError, TypeError, ValueError, OverflowError):
        return tuple((_text(token), float(token.logprob)) for token in told.content) or None
    return None


def _text(token: Any) -> str:
    """Of a token with a part of a character, OpenAI's ``token`` is made up of escapes: the bytes say what it is."""
    return bytes(token.bytes).decode(errors="replace") if isinstance(token.bytes, list) else str(token.token)


def _counted(completion: ChatCompletion, **read: Any) -> ChatReply:
    usage = completion.usage
    details = usage.prompt_tokens_details if usage else None
    return ChatReply(
        **read,
        prompt_tokens=_count(usage and usage.prompt_tokens),
        cached_tokens=_count(details and details.cached_tokens),
        completion_tokens=_count(usage and usage.completion_tokens),
        cost=stated_cost(usage.model_extra or {}) if usage else None,
        model=str(completion.model or ""),
    )


def _count(value: object) -> int:
    """A number of tokens, 0 where a server has written something else there."""
    return value if isinstance(value, int) and value > 0 else 0
