"""The WSGI application: ``gunicorn _wsgi:app``, or ``python -m prelabel serve``, which runs just that."""

from model import PrelabelModel
from prelabel.bootstrap import configure_logging, services
from prelabel.web.app import create_app

configure_logging(services().settings)
app = create_app(PrelabelModel, services())
