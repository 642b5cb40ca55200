"""A request's JSON to what the protocol says it holds, or a :class:`RequestError` that names what is wrong."""

import json
from dataclasses import dataclass
from typing import Any

from flask import Request

from prelabel.errors import RequestError
from prelabel.store.keys import ProjectRef


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """``/predict``'s body. ``context`` is None for a batch; for a typed prompt it is an object with a ``result``."""

    project: ProjectRef
    label_config: str
    tasks: list[Any]
    context: dict[str, Any] | None


def read_predict(request: Request) -> PredictRequest:
    """:raises RequestError: no JSON object, or one without tasks; what is odd in a task is that task's matter."""
    body = read_object(request)
    tasks = body.get("tasks")
    if not isinstance(tasks, list):
        raise RequestError("tasks", f"tasks must be a list, got {_name(tasks)}")
    params = body.get("params")
    if params is not None and not isinstance(params, dict):
        raise RequestError("params", f"params must be an object, got {_name(params)}")
    project = ProjectRef.parse(body.get("project"))
    return PredictRequest(project, read_config(body, "label_config"), tasks, _read_context(params or {}))


def read_config(body: dict[str, Any], name: str) -> str:
    """:raises RequestError: the label config is there but no text; a missing one is left to its parser."""
    config = body.get(name)
    if config is not None and not isinstance(config, str):
        raise RequestError("label_config", f"{name} must be a text, got {_name(config)}")
    return config or ""


def read_object(request: Request) -> dict[str, Any]:
    """:raises RequestError: the body is no JSON object, or is not declared as JSON."""
    if not request.is_json:
        kind = request.mimetype or "none"
        raise RequestError("content_type", f"the body must be JSON with Content-Type application/json, got {kind}", 415)
    try:
        body = json.loads(request.get_data())
        # A lone half of a surrogate pair is legal in JSON but in no text: it could be neither sent nor stored.
        body = json.loads(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise RequestError("malformed_json", "the body is no JSON") from None
    if not isinstance(body, dict):
        raise RequestError("malformed_json", f"the body must be a JSON object, got {_name(body)}")
    return body


def _read_context(params: dict[str, Any]) -> dict[str, Any] | None:
    context = params.get("context")
    if context is None:
        return None
    if not isinstance(context, dict):
        raise RequestError("context", f"context must be an object, got {_name(context)}")
    return {**context, "result": context.get("result") or []}


def _name(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", type(None): "nothing", bool: "a boolean"}
    return names.get(type(value), "a number")
