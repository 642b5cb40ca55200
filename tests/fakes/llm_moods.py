"""What kinds of OpenAI-compatible servers the fake can be: what of a request each understands, refuses or ignores.

The bodies of refusals are those that such servers were reported to send; ``tests/unit/test_refusals.py`` has more.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.llm_replies import Fault, error_body
from tests.fakes.llm_tokens import MERGED, USUAL

BABBLE = "The first one is about money, I think."
"""What is replied where the form is ignored."""
Refuse = Callable[[str, Any], Fault]
"""The answer to a parameter, by its name and value, that is not understood."""


def as_openai(name: str, value: Any) -> Fault:
    if name == "max_tokens":
        hint = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
    elif name == "temperature":
        hint = f"Unsupported value: 'temperature' does not support {value} with this model. "
        hint += "Only the default (1) value is supported."
    elif name == "response_format":
        hint = f"Invalid parameter: 'response_format' of type '{value['type']}' is not supported with this model."
    else:
        hint = f"Unsupported parameter: '{name}' is not supported with this model."
    return Fault(400, body=error_body(hint, param=name, code="unsupported_parameter"))


def as_deepseek(name: str, value: Any) -> Fault:
    return Fault(400, body=error_body("This response_format type is unavailable now", code="invalid_request_error"))


def as_llama_cpp_python(name: str, value: Any) -> Fault:
    message = "[{'type': 'literal_error', 'loc': ('body', 'X'), 'msg': \"Input should be 'text' or 'json_object'\"}]"
    return Fault(500, body=error_body(message, kind="internal_server_error"))


@dataclass(frozen=True, slots=True)
class Mood:
    """A kind of server."""

    forms: tuple[str, ...] = ("json_schema",)
    """Types of ``response_format`` that it follows; ``schema`` for a schema within ``json_object``, ``text`` for none
    at all."""
    refuses: tuple[str, ...] = ()
    """Other parameters to which it answers with an error."""
    refuse: Refuse = as_openai
    ignores_form: bool = False
    """Whether any ``response_format`` is accepted and none followed: it babbles until the form is told in words."""
    tokens: re.Pattern[str] | None = USUAL
    """Matches its tokens one after the other; None where it tells no logprobs, asked for or not."""
    thinks: int = 0
    """Tokens that each reply takes beside what is said: billed, and within no limit."""

    def refusal(self, body: Mapping[str, Any]) -> Fault | None:
        """Its answer to the first parameter that it does not understand, None if it does all."""
        given = body.get("response_format") or {"type": "text"}
        kind = "schema" if "schema" in given else given["type"]
        if kind not in self.forms and not self.ignores_form:
            return self.refuse("response_format", given)
        return next((self.refuse(name, body[name]) for name in self.refuses if name in body), None)


STRICT = Mood()
REASONING = Mood(refuses=("max_tokens", "temperature", "logprobs"))
DEEPSEEK = Mood(forms=("json_object", "schema", "text"), refuse=as_deepseek)
LLAMA_CPP_PYTHON = Mood(forms=("json_object", "schema", "text"), refuse=as_llama_cpp_python)
LM_STUDIO_WITHOUT_SCHEMAS = Mood(forms=("text",))
TEXT_ONLY_500 = Mood(forms=("text",), refuse=as_llama_cpp_python)
IGNORING = Mood(forms=("text",), ignores_form=True, tokens=None)
ODD_TOKENS = Mood(tokens=MERGED)
