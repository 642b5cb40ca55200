"""A Label Studio for the tests: real HTTP on loopback, with the paths and answers of 1.23.2 that reading needs.

Projects, ML backends and webhooks are what a test puts into the lists; listing a project's ML backends asks each for
``/health`` and ``/setup``, as the real one does, and states follow from what they answer. Errors are worded as the real
one words them.
"""

import base64
import json
import re
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import requests

from tests.fakes.studio_tasks import StudioTasks

Json = dict[str, Any]
LEGACY_DISABLED = (
    "Authentication token no longer valid: legacy token authentication has been disabled for this organization"
)
FAR_FUTURE, PAST = 8102462255, 1_000_000_000
PAGE = "<!doctype html>\n<html lang=en><title>Label Studio</title>"


def jwt(kind: str, expires: int = FAR_FUTURE) -> str:
    """A token as Label Studio makes them, but for its signature."""
    parts = {"alg": "HS256", "typ": "JWT"}, {"token_type": kind, "exp": expires, "jti": "4ae1", "user_id": "1"}
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


class FakeLabelStudio:
    """The server and a test's handle on it, to be used as a context manager."""

    def __init__(self) -> None:
        self.version = "1.23.2"
        self.legacy_token = "0123456789" * 4
        self.personal_token = jwt("refresh")
        self.access_token = jwt("access")
        self.allows_legacy = True
        self.allows_personal = True
        self.is_blacklisted = False
        self.redirects_to = ""
        """Everything is answered by a redirect to there."""
        self.is_silent = False
        self.projects: dict[int, Json] = {}
        self.ml_backends: list[Json] = []
        """With ``password``, which the real one does not show."""
        self.webhooks: list[Json] = []
        self.tasks = StudioTasks()
        """Of the one project that a test's bulk runs are about."""
        self._end = threading.Event()
        studio = self

        class Handler(BaseHTTPRequestHandler):
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                studio._answer(self, self.command, self.path, self.headers.get("Authorization", ""), body)

            do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="fake-studio")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, to: BaseHTTPRequestHandler, method: str, target: str, auth: str, body: bytes) -> None:
        if self.is_silent:
            self._end.wait()
            return
        parts = urlsplit(target)
        status, said = self._say(method, parts.path, parse_qs(parts.query), auth, body)
        payload = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        to.send_response(status)
        to.send_header("Content-Type", "text/html" if isinstance(said, str) else "application/json")
        to.send_header("Content-Length", str(len(payload)))
        if self.redirects_to:
            to.send_header("Location", self.redirects_to + parts.path)
        to.end_headers()
        to.wfile.write(payload)

    def _say(self, method: str, path: str, query: Mapping[str, list[str]], auth: str, body: bytes) -> tuple[int, Any]:
        if self.redirects_to:
            return 301, ""
        if self.tasks.is_away:
            return 502, "<h1>502 Bad Gateway</h1>"
        if path == "/api/token/refresh/":
            return self._refresh(json.loads(body)["refresh"])
        if path.rstrip("/").endswith("/version"):  # with or without a token, and under any path
            return 200, {"release": self.version, "edition": "Community"}
        if not path.startswith("/api/"):
            return 404, PAGE
        if refusal := self._refusal(auth):
            return self._refuse(401, refusal)
        if path == "/api/current-user/whoami":
            return 200, {"id": 1, "email": "admin@example.com", "username": ""}
        if match := re.fullmatch(r"/api/projects/(\d+)/", path):
            project = self.projects.get(int(match[1]))
            if project and method == "PATCH":
                project |= json.loads(body)
            return (200, project) if project else self._refuse(404, "No Project matches the given query.")
        if path == "/api/ml/":
            return 200, [self._with_state(row) for row in self.ml_backends if str(row["project"]) in query["project"]]
        if path == "/api/webhooks/":
            return 200, [row for row in self.webhooks if str(row["project"]) in query["project"]]
        if match := re.fullmatch(r"/api/projects/(\d+)/import/predictions", path):
            return self.tasks.imported(json.loads(body), f"project {match[1]}")
        if path == "/api/tasks/":
            return self.tasks.listed(query)
        if re.fullmatch(r"/api/projects/(\d+)/model-versions", path):
            return 200, self.tasks.versions()
        if match := re.fullmatch(r"/api/predictions/(\d+)/", path):
            number = int(match[1])
            return self.tasks.changed(number, json.loads(body)) if method == "PATCH" else self.tasks.deleted(number)
        return 404, PAGE

    def _refusal(self, auth: str) -> str:
        kind, _, token = auth.partition(" ")
        if kind == "Bearer" and token == self.access_token and self.allows_personal:
            return ""
        if kind != "Token":
            return "Authentication credentials were not provided."
        if " " in token:
            return "Invalid token header. Token string should not contain spaces."
        if token != self.legacy_token:
            return "Invalid token."
        return "" if self.allows_legacy else LEGACY_DISABLED

    def _refresh(self, token: str) -> tuple[int, Json]:
        if token == self.access_token:
            return self._refuse(401, "Token has wrong type")
        if token != self.personal_token:
            return self._refuse(401, "Token is invalid")
        if self.is_blacklisted:
            return self._refuse(401, "Token is blacklisted")
        return 200, {"access": self.access_token}

    def _refuse(self, status: int, detail: str) -> tuple[int, Json]:
        said = {"id": "03cf622e", "status_code": status, "version": self.version, "detail": detail, "exc_info": None}
        return status, said

    def _with_state(self, row: Json) -> Json:
        """The row after ``/health`` and ``/setup``, without the password."""
        project = self.projects[row["project"]]
        uid = f"{row['project']}.1795235920"
        shown = {name: value for name, value in row.items() if name != "password"}
        setup = {"project": uid, "schema": project["label_config"], "hostname": self.url, "extra_params": None}
        auth = (row["basic_auth_user"], row["password"]) if row["auth_method"] == "BASIC_AUTH" else None
        with requests.Session() as session:
            session.trust_env = False
            try:
                session.get(f"{row['url']}/health", timeout=1)
                session.post(f"{row['url']}/setup", json=setup, auth=auth, timeout=3).raise_for_status()
            except requests.HTTPError as error:
                return {**shown, "state": "ER", "error_message": str(error)}
            except requests.RequestException:
                return {**shown, "state": "DI", "error_message": None}
        return {**shown, "state": "CO", "error_message": None}
