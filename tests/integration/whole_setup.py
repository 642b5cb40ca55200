"""A whole set-up on real servers, in which all is well and which a test then breaks: what the doctor is shown.

Redis, the backend and the LLM's and Label Studio's fakes answer over HTTP or its like; the worker is only registered.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import redis
from rq import Worker
from rq.serializers import JSONSerializer
from werkzeug.serving import WSGIRequestHandler, make_server

from model import PrelabelModel
from prelabel.bootstrap import Services, build
from prelabel.config import Settings
from prelabel.doctor.examination import examine
from prelabel.doctor.findings import Finding
from prelabel.store.keys import Keys
from prelabel.studio.wiring import ACTIONS, Wanted
from prelabel.web.app import create_app
from tests.fakes.llm_server import FakeLLM
from tests.fakes.studio_server import FakeLabelStudio
from tests.integration.conftest import TICKETS
from tests.integration.project_seven import REF, project_seven
from tests.servers import free_port

AUTH = {"BASIC_AUTH_USER": "bot", "BASIC_AUTH_PASS": "pass"}


@dataclass(slots=True)
class Setup:
    """A whole set-up in which all is well, for tests to break; ``env`` is what the doctor is told."""

    env: dict[str, str]
    redis: redis.Redis
    llm: FakeLLM
    studio: FakeLabelStudio
    work: Services
    version: str
    backend: "Served"
    in_container: bool = False
    project: int | None = None
    stack: ExitStack = field(default_factory=ExitStack)

    def examine(self) -> list[Finding]:
        return list(examine(Settings.given(self.env), project=self.project, in_container=self.in_container))

    def set(self, **env: str) -> None:
        """As if all processes had been started with these."""
        self.env |= env
        if "LABEL_STUDIO_URL" in env:
            self.start_worker()

    def start_worker(self) -> None:
        """An RQ worker shows up on the queue that belongs to Label Studio's address."""
        queue = f"prelabel:{Keys(self.env['LABEL_STUDIO_URL']).site}"
        worker: Any = Worker([queue], connection=self.redis, serializer=JSONSerializer)
        worker.register_birth()

    def serve(self, status: int, body: bytes) -> str:
        """The address of something else, which answers this to all."""
        return self.stack.enter_context(answering(status, body))


class Served:
    """The backend over HTTP, which a test may stop."""

    def __init__(self, work: Services, port: int) -> None:
        class Quiet(WSGIRequestHandler):
            disable_nagle_algorithm = True

            def log(self, *_: object) -> None:
                """Nothing."""

        app = create_app(PrelabelModel, work)
        self._server = make_server("127.0.0.1", port, app, threaded=True, request_handler=Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self._is_up = True

    def stop(self) -> None:
        if self._is_up:
            self._is_up = False
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


def connect(studio: FakeLabelStudio, work: Services) -> str:
    """Project 7 as ``connect`` leaves it; returns its version."""
    settings = work.settings
    version = work.service.open(REF, TICKETS).version
    work.projects.set_connected(REF, title=version, backend_url=settings.address, own_user=1)
    wanted = Wanted.by_settings(settings.address, version, settings)
    studio.projects[7] = project_seven(version)
    studio.ml_backends.append(
        {
            "id": 1,
            "project": 7,
            "url": settings.address,
            "title": version,
            "is_interactive": True,
            "auth_method": "BASIC_AUTH",
            "basic_auth_user": settings.basic_auth_user,
            "basic_auth_pass_is_set": True,
            "password": settings.basic_auth_pass.get_secret_value(),
        }
    )
    studio.webhooks.append(
        {
            "id": 1,
            "project": 7,
            "url": wanted.webhook_url,
            "is_active": True,
            "send_payload": True,
            "send_for_all_actions": False,
            "headers": dict(wanted.headers),
            "actions": list(ACTIONS),
        }
    )
    return version


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that says the same to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def all_well(redis_url: str, llm: FakeLLM) -> Iterator[Setup]:
    """A project that is connected, and every server that it takes."""
    with ExitStack() as stack:
        studio = stack.enter_context(FakeLabelStudio())
        client = stack.enter_context(redis.Redis.from_url(redis_url))
        client.flushall()
        for name, value in {"save": "3600 1", "maxmemory-policy": "noeviction", "maxmemory": "0"}.items():
            client.config_set(name, value)
        stack.callback(client.config_set, "requirepass", "")
        port = free_port()
        env = {
            "OPENAI_API_KEY": llm.api_key,
            "OPENAI_BASE_URL": llm.url,
            "REDIS_URL": redis_url,
            "LABEL_STUDIO_URL": studio.url,
            "LABEL_STUDIO_API_KEY": studio.legacy_token,
            "PORT": str(port),
            **AUTH,
        }
        work = build(Settings.from_env(env))
        stack.callback(work.close)
        served = Served(work, port)
        stack.callback(served.stop)
        version = connect(studio, work)
        setup = Setup(env, client, llm, studio, work, version, served, stack=stack)
        setup.start_worker()
        yield setup
