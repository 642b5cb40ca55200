"""The Flask application: the protocol's endpoints, ours, and how errors are answered."""

from collections.abc import Callable
from typing import Any

from flask import Flask

from prelabel.bootstrap import Services
from prelabel.web.api import api
from prelabel.web.metrics import metrics
from prelabel.web.path import UnderPath
from prelabel.web.protocol import Model, protocol
from prelabel.web.ready import readiness
from prelabel.web.replies import answer_errors

LARGEST_BODY = 256 * 1024 * 1024
"""Bytes; Label Studio sends all selected tasks in one request (10,000 short ones are 5.5 MB)."""


def create_app(model_class: Callable[..., Model], work: Services) -> Flask:
    """An application that serves ``model_class`` with ``work``."""
    app = Flask("prelabel")
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    extensions: dict[str, Any] = app.extensions
    extensions["prelabel"] = work
    app.register_blueprint(protocol(model_class, work))
    app.register_blueprint(api(work))
    app.register_blueprint(readiness(work))
    app.register_blueprint(metrics(work))
    answer_errors(app)
    if work.settings.path:
        app.wsgi_app = UnderPath(app.wsgi_app, work.settings.path)  # type: ignore[method-assign] # Flask's documented way
    return app
