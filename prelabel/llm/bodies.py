"""A request to the JSON in which a server with a model is asked for it: the same live and in a batch."""

from typing import Any

from prelabel.llm.capabilities import Capabilities
from prelabel.llm.exchange import ChatRequest
from prelabel.llm.forms import Form, response_format, tell_form

THINKING_TOKENS = 4000
"""Added to the limit for models that think in secret first and spend the same tokens on it: OpenAI's since o1, those
that know ``max_completion_tokens`` alone (https://platform.openai.com/docs/guides/reasoning)."""


def chat_body(request: ChatRequest, model: str, temperature: float, by: Capabilities) -> dict[str, Any]:
    """The body of a chat completion request, without what ``by`` says is not understood."""
    messages = request.messages if by.form is Form.STRICT else tell_form(request.messages, request.schema)
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in messages],
    }
    if form := response_format(by.form, request.schema):
        body["response_format"] = form
    if by.temperature:
        body["temperature"] = temperature
    if by.length and request.max_tokens is not None:
        body[by.length] = request.max_tokens + (THINKING_TOKENS if by.length == "max_completion_tokens" else 0)
    if by.logprobs and request.logprobs:
        body["logprobs"] = True
    return body
