"""An OpenAI-compatible LLM server for the tests: real HTTP on loopback, with answers and faults as a test orders them.

A test says what is answered (``enqueue`` for the next reply, ``faults`` for a share of all replies, ``answer`` for the
policy per ticket, ``mood`` for the kind of server, ``obedient`` for a model that falls for any order it is given,
``batches`` for the Batch API) and reads what was asked (``history``; ``complaints`` for what no server should be sent;
``refused`` counts what the mood refuses). ``llm_request`` checks and reads requests, ``llm_policy`` thinks up answers,
``llm_faults`` spoils them, ``llm_replies`` dresses them as OpenAI does, ``llm_tokens`` cuts them into tokens; here are
addresses, keys and connections.
"""

import json
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from uuid import uuid4

from tests.fakes.llm_batches import BatchAPI
from tests.fakes.llm_faults import FaultMix
from tests.fakes.llm_moods import BABBLE, STRICT
from tests.fakes.llm_obedience import breaches, obeying
from tests.fakes.llm_policy import Policy, by_words, reply, verdicts
from tests.fakes.llm_rate import SlidingWindow
from tests.fakes.llm_replies import (
    Drop,
    Fault,
    Hang,
    Reply,
    Twist,
    completion_body,
    error_body,
    models_body,
    usual_error,
)
from tests.fakes.llm_request import TOLD, Asked, Refused, read_request


class FakeLLM:
    """The server and a test's handle on it, to be used as a context manager."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_flight = 0
        self._hurry = threading.Event()
        self.reset()
        self._server = _Server(self)

    def reset(self) -> None:
        """Forget what was asked and ordered; what still hangs is answered now."""
        self._hurry.set()
        self._hurry = threading.Event()
        self._ordered: deque[Reply] = deque()
        self.api_key = "test-key"
        self.models: tuple[str, ...] = ("gpt-4o-mini", "gpt-4o")
        self.latency_s = 0.0
        self.rate: SlidingWindow | None = None
        self.faults: FaultMix | None = None
        self.answer: Policy = by_words
        self.obedient = False
        self.history: list[Asked] = []
        self.complaints: list[str] = []
        self.mood = STRICT
        self.refused = 0
        self.refusal_latency_s = 0.0
        self.max_in_flight = 0
        self.batches = BatchAPI(self._answer_row, lambda: self.models)

    @property
    def url(self) -> str:
        """What ``OPENAI_BASE_URL`` is set to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def in_flight(self) -> int:
        """Requests that are not answered yet."""
        return self._in_flight

    def enqueue(self, *replies: Reply) -> None:
        """Order what the next requests get, whatever the policy would answer."""
        self._ordered.extend(replies)

    def asked_about(self, text: str) -> list[Asked]:
        """The requests in which this ticket stood, oldest first."""
        return [asked for asked in self.history if text in asked.texts]

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="fake-llm")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._hurry.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def respond(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> "Answer | Drop":
        """What to send for a request.

        :param headers: by lower-case name.
        """
        if headers.get("authorization") != f"Bearer {self.api_key}":
            return self._refuse(401, "wrong API key")
        match method, path:
            case "GET", "/v1/models":
                return Answer(200, models_body(self.models))
            case "POST", "/v1/chat/completions":
                with self._counted():
                    return self._limited(body, headers)
            case _ if (sent := self.batches.respond(method, path, headers, body)) is not None:
                return sent if isinstance(sent, Drop) else Answer(sent.status, sent.body, sent.headers)
            case _:
                return self._refuse(404, f"Invalid URL ({method} {path})", error_body(f"Invalid URL ({method} {path})"))

    def _limited(self, body: bytes, headers: Mapping[str, str]) -> "Answer | Drop":
        """Within ``rate``, if there is one."""
        if self.rate is None:
            return self._complete(body, headers)
        is_admitted, told = self.rate.admit()
        answer = self._complete(body, headers) if is_admitted else Answer(429, usual_error(429))
        return answer if isinstance(answer, Drop) else replace(answer, headers={**told, **answer.headers})

    def _answer_row(self, body: Mapping[str, Any], ordered: Reply | None) -> tuple[int, Any] | None:
        """A row of a batch, answered as a live request is."""
        answer = self._complete(json.dumps(body).encode(), {}, ordered)
        return None if isinstance(answer, Drop) else (answer.status, answer.body)

    def _complete(self, body: bytes, headers: Mapping[str, str], ordered: Reply | None = None) -> "Answer | Drop":
        """:param ordered: what this request gets; by default what was ordered for the next one."""
        request = json.loads(body)
        if request["model"] not in self.models:
            return self._refuse(404, f"unknown model {request['model']}")
        if refusal := self.mood.refusal(request):
            with self._lock:
                self.refused += 1
            time.sleep(self.refusal_latency_s)
            return Answer(refusal.status, refusal.body or usual_error(refusal.status))
        try:
            asked = read_request(request, headers)
        except Refused as refused:
            return self._refuse(400, str(refused), error_body(str(refused), param=refused.param))
        with self._lock:
            self.history.append(asked)
            self.complaints.extend(breaches(asked) if self.obedient else ())
            ordered = self._next() if ordered is None else ordered
            hurry = self._hurry
        hurry.wait(self.latency_s + (ordered.seconds if isinstance(ordered, Hang) else 0))
        honest, believed = self._honest(asked) if ordered is None or isinstance(ordered, Hang | Twist) else ("", {})
        if isinstance(ordered, Twist):
            ordered = ordered.make(honest, asked)
        match ordered:
            case Drop():
                return ordered
            case Fault(status, more_headers, fault_body):
                return Answer(status, fault_body or usual_error(status), more_headers)
        completion = honest if ordered is None or isinstance(ordered, Hang) else ordered
        mood = self.mood
        sent = completion_body(asked, completion, believed=believed, tokens=mood.tokens, thinks=mood.thinks)
        return Answer(200, sent)

    def _next(self) -> Reply | None:
        """What was ordered for the next request."""
        if self._ordered:
            return self._ordered.popleft()
        return self.faults.draw() if self.faults else None

    def _honest(self, asked: Asked) -> tuple[str, dict[int, float]]:
        """The content of the completion where nothing goes wrong, and how probable each ticket's labels are in it, as
        far as the policy says."""
        if self.mood.ignores_form and TOLD not in asked.instructions:
            return BABBLE, {}
        found = verdicts(asked, obeying(self.answer) if self.obedient else self.answer)
        believed = {number: said.probability for number, said in found.items() if said.probability is not None}
        return reply(asked, found), believed

    def _refuse(self, status: int, why: str, body: Mapping[str, Any] | None = None) -> "Answer":
        self.complaints.append(why)
        return Answer(status, body or usual_error(status))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self._in_flight)
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out over HTTP; a mapping as JSON, a text as it is."""

    status: int
    body: Mapping[str, Any] | str
    headers: Mapping[str, str] = field(default_factory=dict)


class _Server(ThreadingHTTPServer):
    request_queue_size = 256  # a hundred clients connect at once
    daemon_threads = False  # so that closing waits for the handlers, which ``server_close`` wakes

    def __init__(self, llm: FakeLLM) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.llm = llm
        self.connections: set[socket.socket] = set()

    def server_close(self) -> None:
        for connection in tuple(self.connections):
            _hang_up(connection)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away while they are answered are what tests of timeouts are about; all else is a bug."""
        if not isinstance(error := sys.exception(), ConnectionError):
            self.llm.complaints.append(repr(error))


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = self.server.llm.respond(self.command, self.path, headers, body)
        except Exception as error:  # noqa: BLE001  a request or a test's policy of any kind; the test reads complaints
            self.server.llm.complaints.append(repr(error))
            answer = Answer(500, usual_error(500))
        if isinstance(answer, Drop):
            self.close_connection = True
            _hang_up(self.connection)
        else:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        payload = (answer.body if isinstance(answer.body, str) else json.dumps(answer.body)).encode()
        self.send_response(answer.status)
        kind = "text/plain" if isinstance(answer.body, str) else "application/json"
        usual = {"Content-Type": kind, "Content-Length": str(len(payload)), "x-request-id": f"req_{uuid4().hex}"}
        for name, value in {**usual, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it so
        """Quiet: tests read ``history``."""


def _hang_up(connection: socket.socket) -> None:
    """Wakes whoever reads from the connection, on either side."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client was faster
