"""``GET /metrics``: what Prometheus asks every few seconds."""

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from prelabel.bootstrap import Services
from prelabel.metrics.exposition import CONTENT_TYPE, Exposition
from prelabel.web.auth import Auth


def metrics(work: Services) -> Blueprint:
    """The endpoint, for an application to register."""
    views = Blueprint("metrics", __name__)
    exposition = Exposition(work.measures, work.counts, work.runs, work.jobs)

    @views.get("/metrics")
    @Auth(work.settings).required
    def show() -> ResponseReturnValue:
        return Response(exposition.text(), content_type=CONTENT_TYPE)

    return views
