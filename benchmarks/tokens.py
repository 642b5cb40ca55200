"""How many tokens a chat completion costs, counted with OpenAI's own vocabulary ``o200k_base`` (GPT-4o to GPT-5).

What stands around the messages is counted as in OpenAI's cookbook ("How to count tokens with tiktoken", section 6):
three tokens a message, the role's, and three for the beginning of the reply.

A strict schema is billed too, and OpenAI does not say how. Counted here is all of its compact JSON, and the nine tokens
around it that were observed (https://github.com/openai/openai-cookbook/issues/2140). By the same observation OpenAI
leaves ``required`` and ``additionalProperties`` out, so that the real bill is lower;
:func:`observed_schema_tokens` counts it so. The vocabulary comes with ``bpe-openai``: tiktoken itself downloads it.
"""

import json
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import bpe_openai

A_MESSAGE, A_REPLY, A_SCHEMA = 3, 3, 9
_NOT_BILLED = frozenset({"required", "additionalProperties", "$schema"})


@lru_cache(maxsize=64)
def count_tokens(text: str) -> int:
    """Remembered for a while: instructions and schema stand in every request."""
    return len(_vocabulary().encode_ordinary(text))


def prompt_tokens(body: Mapping[str, Any]) -> int:
    """
    :param body: of the request, as it was sent.
    """
    messages = (A_MESSAGE + count_tokens(each["role"]) + count_tokens(each["content"]) for each in body["messages"])
    schema = _schema(body)
    return sum(messages) + A_REPLY + (A_SCHEMA + count_tokens(_compact(schema)) if schema else 0)


def observed_schema_tokens(body: Mapping[str, Any]) -> int:
    """What the schema of a request is billed at by what was observed; 0 if it has none."""
    schema = _schema(body)
    return A_SCHEMA + count_tokens(_compact(_billed(schema))) if schema else 0


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Empty if none was sent."""
    given = body.get("response_format") or {}
    found: Mapping[str, Any] = given.get("json_schema", {}).get("schema") or given.get("schema") or {}
    return found


def _billed(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _billed(value) for key, value in node.items() if key not in _NOT_BILLED}
    return [_billed(each) for each in node] if isinstance(node, list) else node


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@cache
def _vocabulary() -> Any:
    return bpe_openai.get_encoding("o200k_base")
