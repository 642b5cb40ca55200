"""Connecting in a real Label Studio: what it sends from then on, what is written or repaired, which tokens work."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from prelabel.config import Settings
from prelabel.errors import StudioError
from prelabel.studio.client import TASKS_PER_PAGE, StudioClient
from prelabel.studio.connect import Connection, connect, sync_title
from tests.e2e.studio_api import StudioApi
from tests.servers import LabelStudio

CONFIG = """<View>
  <Text name="text" value="$text"/>
  <Choices name="intent" toName="text"><Choice value="Refund"/><Choice value="Other"/></Choices>
</View>"""
REFUND = [{"from_name": "intent", "to_name": "text", "type": "choices", "value": {"choices": ["Refund"]}}]


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Stub:
    """An ML backend that wants basic auth, except of ``/health`` and ``/webhook``, and remembers what it was sent."""

    url: str = ""
    password: str = "first"
    received: list[Request] = field(default_factory=list)

    def answer(self, request: Request) -> tuple[int, bytes]:
        self.received.append(request)
        expected = "Basic " + base64.b64encode(f"bot:{self.password}".encode()).decode()
        let_in = request.path in {"/health", "/webhook"} or request.headers.get("Authorization") == expected
        return (200, b'{"model_version": "v1", "results": []}') if let_in else (401, b"{}")

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [json.loads(request.body) for request in self.received if request.path == path]


@dataclass(slots=True)
class Door:
    """Label Studio under the path ``/ls``, as behind a proxy; remembers what was asked of it."""

    target: str
    url: str = ""
    passed: list[Request] = field(default_factory=list)

    def answer(self, request: Request) -> tuple[int, bytes]:
        self.passed.append(request)
        if not request.path.startswith("/ls/"):
            return 404, b"<html>"
        url, headers = self.target + request.path.removeprefix("/ls"), dict(request.headers)
        headers.pop("Host")
        response = requests.request(request.method, url, headers=headers, data=request.body, timeout=30)
        return response.status_code, response.content


@contextmanager
def _serving(answer: Callable[[Request], tuple[int, bytes]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, reply = answer(Request(self.command, self.path, dict(self.headers.items()), body))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(reply)

        do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    with _serving(stub.answer) as stub.url:
        yield stub


@pytest.fixture
def door(label_studio: LabelStudio) -> Iterator[Door]:
    door = Door(label_studio.url)
    with _serving(door.answer) as url:
        door.url = f"{url}/ls/"
        yield door


@pytest.fixture
def client(door: Door, label_studio: LabelStudio) -> StudioClient:
    return StudioClient(door.url, label_studio.token)


@pytest.fixture
def project(studio: StudioApi) -> int:
    return studio.create_project("Connecting", CONFIG)


def _connect(client: StudioClient, project: int, stub: Stub, title: str = "v1", **more: Any) -> Connection:
    return connect(client, project, backend_url=stub.url, title=title, settings=_settings(stub), **more)


def _settings(stub: Stub) -> Settings:
    return Settings.from_env({"BASIC_AUTH_USER": "bot", "BASIC_AUTH_PASS": stub.password})


def test_a_connected_project_sends_corrections_with_the_secret_and_no_imports(
    client: StudioClient, studio: StudioApi, project: int, stub: Stub
) -> None:
    connection = _connect(client, project, stub)
    (task,) = studio.import_tasks(project, [{"text": "where is my money"}])
    studio.annotate(task, REFUND)

    (event,) = (request for request in stub.received if request.path == "/webhook")
    assert json.loads(event.body)["action"] == "ANNOTATION_CREATED"
    assert event.headers["X-Prelabel-Secret"] == _settings(stub).effective_webhook_secret
    assert (connection.warnings, client.project(project).model_version) == ((), "v1")


def test_connecting_again_writes_nothing(client: StudioClient, project: int, stub: Stub, door: Door) -> None:
    first = _connect(client, project, stub)
    door.passed.clear()
    again = _connect(client, project, stub, adopt_only=True)

    assert again == Connection(first.backend_id, first.webhook_id, (), ())
    assert [request.method for request in door.passed] == ["GET"] * 3


def test_a_project_is_named_to_backends_by_its_id_and_birth(client: StudioClient, project: int, stub: Stub) -> None:
    _connect(client, project, stub)

    found = client.project(project)
    assert {body["project"] for body in stub.bodies("/setup")} == {f"{found.id}.{found.created_unix}"}


def test_what_attempts_that_failed_halfway_left_is_repaired(
    client: StudioClient, studio: StudioApi, project: int, stub: Stub
) -> None:
    auth = {"auth_method": "BASIC_AUTH", "basic_auth_user": "bot", "basic_auth_pass": stub.password}
    for url in (stub.url, f"{stub.url}/"):
        studio.call("POST", "/api/ml", json={"project": project, "url": url, "title": "v1", **auth})
    for webhook in client.webhooks(project):
        client.delete_webhook(webhook.id)

    _connect(client, project, stub, title="v2")

    (backend,), (webhook,) = client.ml_backends(project), client.webhooks(project)
    assert (backend.title, backend.is_interactive, backend.state) == ("v2", True, "CO")
    assert (webhook.url, webhook.send_for_all_actions) == (f"{stub.url}/webhook", False)
    assert client.project(project).model_version == "v2"
    assert _connect(client, project, stub, title="v2").changes == ()


def test_a_password_that_was_changed_is_passed_on(client: StudioClient, project: int, stub: Stub) -> None:
    _connect(client, project, stub)
    stub.password = "second"

    assert client.ml_backends(project)[0].state == "ER"
    assert "401" in _connect(client, project, stub).changes[0]
    assert client.ml_backends(project)[0].state == "CO"


def test_a_title_moves_with_the_version_and_keeps_the_password(
    client: StudioClient, project: int, stub: Stub, door: Door
) -> None:
    _connect(client, project, stub)
    door.passed.clear()

    changes = sync_title(client, project, backend_url=stub.url, title="v2", settings=_settings(stub))

    assert len(changes) == 1
    assert [request.method for request in door.passed] == ["GET", "PATCH", "GET"]
    assert (client.ml_backends(project)[0].title, client.project(project).model_version) == ("v2", "v2")
    assert client.ml_backends(project)[0].state == "CO"


@pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")  # by the SDK, when it refreshes a token
def test_a_personal_token_does_where_legacy_tokens_are_disabled(
    client: StudioClient, door: Door, project: int, stub: Stub, personal_token: str
) -> None:
    with pytest.raises(StudioError, match=r"legacy token authentication is disabled .* create a personal access token"):
        client.ping()
    personal = StudioClient(door.url, personal_token)

    assert _connect(personal, project, stub).backend_id
    assert personal.whoami() > 0
    assert personal.version().startswith("1.")


def test_annotated_tasks_come_once_each_with_what_was_predicted_and_skipped(
    client: StudioClient, studio: StudioApi, project: int
) -> None:
    prediction = {"result": REFUND, "score": 0.5, "model_version": "v1"}
    annotated = {"data": {"text": "x"}, "predictions": [prediction], "annotations": [{"result": REFUND}]}
    tasks = studio.import_tasks(project, [annotated] * (TASKS_PER_PAGE + 1) + [{"data": {"text": "untouched"}}])
    for task in (tasks[0], tasks[-1]):
        studio.call("POST", f"/api/tasks/{task}/annotations", json={"result": [], "was_cancelled": True})

    found = list(client.annotated_tasks(project))

    assert [task["id"] for task in found] == tasks[:-1]
    assert [annotation["was_cancelled"] for annotation in found[0]["annotations"]] == [False, True]
    assert found[1]["annotations"][0]["result"] == found[1]["predictions"][0]["result"] == REFUND
    assert found[1]["annotations"][0]["completed_by"] == client.whoami()


def test_reading_annotations_never_asks_for_predictions(client: StudioClient, studio: StudioApi, stub: Stub) -> None:
    project = studio.create_project("Predicts by itself", CONFIG, evaluate_predictions_automatically=True)
    studio.import_tasks(project, [{"data": {"text": "x"}, "annotations": [{"result": REFUND}]}])
    _connect(client, project, stub)

    assert len(list(client.annotated_tasks(project))) == 1
    assert stub.bodies("/predict") == []


def test_what_is_refused_says_what_to_do(
    client: StudioClient, label_studio: LabelStudio, project: int, stub: Stub
) -> None:
    with pytest.raises(StudioError, match=r"\(404: No Project matches the given query.\): it was deleted"):
        client.project(999_999)
    with pytest.raises(StudioError, match="the token is unknown"):
        StudioClient(label_studio.url, "f" * 40).ping()
    with pytest.raises(StudioError, match="what answers there is not Label Studio's API"):
        StudioClient(f"{label_studio.url}/elsewhere", label_studio.token).ping()
    with pytest.raises(StudioError, match=r"cannot be reached at 'http://127\.0\.0\.1:1'"):
        StudioClient("http://127.0.0.1:1", label_studio.token).ping()
    with pytest.raises(StudioError, match="start the backend"):
        connect(client, project, backend_url="http://127.0.0.1:1", title="v1", settings=_settings(stub))
