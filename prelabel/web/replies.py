"""How errors are told over HTTP: always JSON, ``{"error": {"type", "message"}}``, never a traceback."""

import logging

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from prelabel.errors import PrelabelError, RequestError, StoreUnavailable
from prelabel.store.runs import RunExists

log = logging.getLogger(__name__)


def error_reply(kind: str, message: str, status: int) -> tuple[Response, int]:
    return jsonify({"error": {"type": kind, "message": message}}), status


def answer_errors(app: Flask) -> None:
    """Have ``app`` answer each of our errors, Flask's own, and whatever else happens."""

    @app.errorhandler(RequestError)
    def wrong_request(error: RequestError) -> tuple[Response, int]:
        return error_reply(error.kind, str(error), error.status)

    @app.errorhandler(RunExists)
    def run_exists(error: RunExists) -> tuple[Response, int]:
        message = {"type": error.kind, "message": str(error)}
        return jsonify({"error": message, "id": error.run_id}), error.status

    @app.errorhandler(StoreUnavailable)
    def store_unavailable(error: StoreUnavailable) -> tuple[Response, int]:
        log.warning("%s", error)
        return error_reply("store_unavailable", str(error), 503)

    @app.errorhandler(PrelabelError)
    def other(error: PrelabelError) -> tuple[Response, int]:
        log.error("%s", error)
        return error_reply(type(error).__name__, str(error), 503)

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> tuple[Response, int]:
        return error_reply(error.name.lower().replace(" ", "_"), error.description or error.name, error.code or 500)

    @app.errorhandler(Exception)  # the last guard of a request: a bug is told in the log, not to the caller
    def bug(error: Exception) -> tuple[Response, int]:
        log.error("a request failed by a bug", exc_info=error)
        return error_reply("internal", "prelabel failed; its log says why", 500)
