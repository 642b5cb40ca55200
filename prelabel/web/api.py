"""Our own endpoints: bulk runs, started and watched by other programs."""

from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from prelabel.bootstrap import Services
from prelabel.errors import RequestError
from prelabel.runs import control
from prelabel.store.runs import RunOptions
from prelabel.web.auth import Auth
from prelabel.web.requests import read_object

ACTIONS = {"cancel": control.cancel, "pause": control.pause, "resume": control.resume, "retry": control.retry}


def api(work: Services) -> Blueprint:
    """The endpoints, for an application to register."""
    views = Blueprint("api", __name__)
    auth = Auth(work.settings)

    @views.post("/runs")
    @auth.required
    def start() -> ResponseReturnValue:
        run = control.start(work, read_options(read_object(request)))
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
    known = {"project", "only_missing", "refresh", "limit", "method", "max_cost", "mode", "validation", "dry_run"}
    if unknown := sorted(set(body) - known):
        raise RequestError("options", f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    if body.get("max_cost") is not None:
        raise RequestError("max_cost", "the price of the model is not known, so no cost can be kept to")
    for name, only in {"method": (None, "auto", "llm"), "mode": (None, "live")}.items():
        if body.get(name) not in only:
            raise RequestError(name, f"{name} can only be {' or '.join(str(value) for value in only if value)} yet")
    if body.get("validation") or body.get("dry_run"):
        raise RequestError("options", "validation and dry_run are not to be had yet")
    return RunOptions(
        project=_number(body, "project", least=1),
        only_missing=_flag(body, "only_missing", default=True),
        refresh=_flag(body, "refresh", default=False),
        limit=None if body.get("limit") is None else _number(body, "limit", least=1),
    )


def _number(body: dict[str, Any], name: str, *, least: int) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise RequestError(name, f"{name} must be a whole number of at least {least}, got {value!r:.40}")
    return value


def _flag(body: dict[str, Any], name: str, *, default: bool) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise RequestError(name, f"{name} must be true or false, got {value!r:.40}")
    return value
