"""Our own endpoints: bulk runs, started and watched by other programs."""

import math
from typing import Any, Literal, get_args

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from prelabel.bootstrap import Services
from prelabel.config import Method
from prelabel.errors import RequestError
from prelabel.runs import control
from prelabel.store.run import RunOptions
from prelabel.web.auth import Auth
from prelabel.web.requests import read_object

ACTIONS = {"cancel": control.cancel, "pause": control.pause, "resume": control.resume, "retry": control.retry}

OPTIONS = frozenset(
    {
        *("project", "only_missing", "refresh", "limit", "method", "max_cost", "mode", "validation", "dry_run"),
        "rescore",
    }
)


def api(work: Services) -> Blueprint:
    """The endpoints, for an application to register."""
    views = Blueprint("api", __name__)
    auth = Auth(work.settings)

    @views.post("/runs")
    @auth.required
    def start() -> ResponseReturnValue:
        body = read_object(request)
        run = control.start(work, read_options(body), read_method(body))
        return jsonify(id=run.id), 202

    @views.get("/runs")
    @auth.required
    def list_runs() -> ResponseReturnValue:
        project = request.args.get("project", type=int)
        return jsonify(runs=[control.describe(work, run) for run in work.runs.all(project)])

    @views.get("/runs/<run_id>")
    @auth.required
    def show(run_id: str) -> ResponseReturnValue:
        return jsonify(control.describe(work, work.runs.get(run_id)))

    @views.post("/runs/<run_id>/<any(cancel, pause, resume, retry):action>")
    @auth.required
    def act(run_id: str, action: str) -> ResponseReturnValue:
        return jsonify(control.describe(work, ACTIONS[action](work, run_id)))

    return views


def read_options(body: dict[str, Any]) -> RunOptions:
    """What a run is asked to do.

    :raises RequestError: an option is missing, of the wrong type, unknown, or not to be had yet.
    """
    if unknown := sorted(set(body) - OPTIONS):
        raise RequestError("options", f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(OPTIONS))}")
    return RunOptions(
        project=_number(body, "project", least=1),
        only_missing=_flag(body, "only_missing", default=True),
        refresh=_flag(body, "refresh", default=False),
        limit=None if body.get("limit") is None else _number(body, "limit", least=1),
        validation=_number({"validation": 0, **body}, "validation", least=0),
        max_cost=_dollars(body),
        dry_run=_flag(body, "dry_run", default=False),
        mode=_mode(body),
        rescore=_flag(body, "rescore", default=False),
    )


def read_method(body: dict[str, Any]) -> Method | None:
    """:raises RequestError: it is none."""
    value = body.get("method")
    if value is not None and value not in get_args(Method):
        raise RequestError("method", f"method must be one of {', '.join(get_args(Method))}, got {value!r:.40}")
    return value


def _number(body: dict[str, Any], name: str, *, least: int) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise RequestError(name, f"{name} must be a whole number of at least {least}, got {value!r:.40}")
    return value


def _dollars(body: dict[str, Any]) -> float | None:
    value = body.get("max_cost")
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise RequestError("max_cost", f"max_cost must be a number of US dollars above 0, got {value!r:.40}")
    return float(value)


def _mode(body: dict[str, Any]) -> Literal["live", "batch"]:
    match body.get("mode"):
        case None | "live":
            return "live"
        case "batch":
            return "batch"
        case value:
            raise RequestError("mode", f"mode must be live or batch, got {value!r:.40}")


def _flag(body: dict[str, Any], name: str, *, default: bool) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise RequestError(name, f"{name} must be true or false, got {value!r:.40}")
    return value
