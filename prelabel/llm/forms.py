"""How a reply's form is asked for: as strictly as the server allows, in words where it allows nothing."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import IntEnum
from typing import Any

from prelabel.core.prompt import Message


class Form(IntEnum):
    """The rungs of a ladder, the strictest first; a server is taken down it, never up, until it is asked anew."""

    STRICT = 0
    """``json_schema``, strict: OpenAI, Azure since 2024-08-01-preview, vLLM, Ollama, LM Studio, llama.cpp."""
    OBJECT_OF_SCHEMA = 1
    """``json_object`` with ``schema``: llama-cpp-python and older llama.cpp."""
    OBJECT = 2
    """``json_object``: DeepSeek, older models of OpenAI."""
    TEXT = 3
    """Nothing: the reader finds what there is."""

    def next(self, words: str) -> "Form":
        """The rung below, after a refusal in these words: the lowest where the parameter as a whole is not known."""
        if self is Form.STRICT and not any(part in words for part in ("schema", "json_object", "type", "structured")):
            return Form.TEXT
        if "must be 'json_schema' or 'text'" in words:  # LM Studio, which has no json_object
            return Form.TEXT
        return Form(min(self + 1, Form.TEXT))


def response_format(form: Form, schema: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's parameter of this name; empty where none is sent."""
    match form:
        case Form.STRICT:
            return {"type": "json_schema", "json_schema": {"name": "answers", "strict": True, "schema": schema}}
        case Form.OBJECT_OF_SCHEMA:
            return {"type": "json_object", "schema": schema}
        case Form.OBJECT:
            return {"type": "json_object"}
        case Form.TEXT:
            return {}


def tell_form(messages: Sequence[Message], schema: Mapping[str, Any]) -> list[Message]:
    """``messages`` with the form in words at the end of the first, where it is the same over a whole run.

    "JSON" must be among the words: OpenAI and DeepSeek refuse ``json_object`` otherwise.
    """
    words = f"Reply with one JSON object of exactly this form and with nothing else:\n{_shown(schema)}"
    first, *others = messages
    return [replace(first, content=f"{first.content}\n\n{words}"), *others]


def follows(text: str, schema: Mapping[str, Any]) -> bool:
    """Whether ``text`` has anywhere an object with the keys that ``schema`` requires of it."""
    required = set(schema.get("required", ()))
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        end = start + 1
        with suppress(ValueError, RecursionError):
            value, end = decoder.raw_decode(text, start)
            if required <= value.keys():
                return True
        start = text.find("{", end) if end - start > 1 else -1  # what cannot be read once is not picked over
    return False


def _shown(node: Mapping[str, Any]) -> str:
    """An example of what follows a schema, of one item each; enumerated values stand in the prompt already."""
    match node.get("type"):
        case "object":
            return f"{{{', '.join(f'{json.dumps(key)}: {_shown(each)}' for key, each in node['properties'].items())}}}"
        case "array":
            return f"[{_shown(node['items'])}, ...]"
        case "string":
            return '"<id>"' if "enum" in node else '"<text>"'
        case other:
            return f"<{other}>"
