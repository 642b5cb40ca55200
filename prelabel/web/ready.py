"""``GET /ready``: whether all that prelabel needs answers. Unlike ``/health`` it asks, so it may take a while."""

import time
from collections.abc import Mapping
from threading import Lock

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from prelabel.bootstrap import Services
from prelabel.errors import PrelabelError
from prelabel.store.connection import reaching_redis
from prelabel.web.auth import Auth

REMEMBERED_S = 15.0


def readiness(work: Services) -> Blueprint:
    """The endpoint, for an application to register."""
    views = Blueprint("ready", __name__)
    lock = Lock()
    found: dict[str, str] = {}
    asked_at = float("-inf")

    @views.get("/ready")
    @Auth(work.settings).required
    def ready() -> ResponseReturnValue:
        nonlocal found, asked_at
        with lock:
            if time.monotonic() - asked_at > REMEMBERED_S:
                found, asked_at = dict(_failures(work)), time.monotonic()
        return jsonify(ready=not found, failing=found), 503 if found else 200

    return views


def _failures(work: Services) -> Mapping[str, str]:
    """What does not answer, with the reason."""
    failures = {}
    try:
        with reaching_redis():
            work.redis.ping()
    except PrelabelError as error:
        failures["redis"] = str(error)
    if work.settings.label_studio_url:
        try:
            work.studio().ping()
        except PrelabelError as error:
            failures["label_studio"] = str(error)
    return failures
