"""Label Studio's ML backend protocol: five endpoints, each of which reads, calls the model and answers.

Served by ourselves, since label-studio-ml 1.0.9's own server keeps one model for all projects, wants ``/setup`` in
every process and drops events while one is being handled.
"""

from collections.abc import Callable
from threading import BoundedSemaphore
from typing import Any, Protocol

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from prelabel.bootstrap import Services
from prelabel.errors import RequestError
from prelabel.learning import read_project
from prelabel.store.keys import ProjectRef
from prelabel.web.auth import Auth
from prelabel.web.requests import read_config, read_object, read_predict

KEPT_FREE = 8
"""Threads that predictions never take, so that health checks and webhooks always get through."""


class Model(Protocol):
    """``model.PrelabelModel``, as far as the protocol needs it."""

    @property
    def model_version(self) -> str: ...
    def predict(self, tasks: list[Any], context: dict[str, Any] | None = None) -> list[dict[str, Any]]: ...
    def fit(self, event: str, data: dict[str, Any]) -> dict[str, str]: ...


def protocol(model_class: Callable[..., Model], work: Services) -> Blueprint:
    """The endpoints, for an application to register.

    :param model_class: called as ``(project_id, label_config, work)`` for every request.
    """
    views = Blueprint("protocol", __name__)
    auth = Auth(work.settings)
    free = BoundedSemaphore(max(1, work.settings.threads - KEPT_FREE))

    @views.get("/")
    @views.get("/health")
    def health() -> ResponseReturnValue:
        return jsonify(status="UP", model_class=getattr(model_class, "__name__", "PrelabelModel"))

    @views.post("/setup")
    @auth.required
    def setup() -> ResponseReturnValue:
        body = read_object(request)
        project, config = ProjectRef.parse(body.get("project")), read_config(body, "schema")
        version = model_class(str(project), config, work).model_version
        work.connecting.notice(project, config, called_at=request.url_root)
        return jsonify(model_version=version)

    @views.get("/versions")
    @auth.required
    def versions() -> ResponseReturnValue:
        return jsonify(versions=work.projects.titles())

    @views.post("/predict")
    @auth.required
    def predict() -> ResponseReturnValue:
        asked = read_predict(request)
        model = model_class(str(asked.project), asked.label_config, work)
        if not free.acquire(blocking=False):
            return jsonify(results=work.service.decline(asked.project, asked.label_config, asked.tasks, asked.context))
        try:
            return jsonify(results=model.predict(asked.tasks, context=asked.context))
        finally:
            free.release()

    @views.post("/webhook")
    @auth.required_or_secret
    def webhook() -> ResponseReturnValue:
        data = read_object(request)
        event = data.pop("action", None)
        if not isinstance(event, str):
            raise RequestError("action", "the event names no action")
        work.measures.event(event)
        project = read_project(data)
        model = model_class(str(project), read_config(data["project"], "label_config"), work)
        return jsonify(model.fit(event, data)), 201

    return views
