"""The fake LLM's Batch API: ``/v1/files`` and ``/v1/batches``, as OpenAI documents them.

Sources: the types of openai-python (``types/batch.py`` and its neighbours); OpenAI's guide "Batch API" for the way from
``validating`` on, for the two files of results and for the row errors ``batch_expired``, ``batch_cancelled`` and
``request_timeout``; for codes of failed batches Azure's guide "Getting started with Azure OpenAI batch deployments" and
https://github.com/openai/openai-python/issues/1643 (a full queue is told in a failed batch, not by a 429; here a test
may order either).

A test orders how long each state takes (``stages``, in seconds of ``clock``), what becomes of a row (``fates``, by
``custom_id``), how much of a batch is done when it ends early (``share_done``), what the next request to an operation
gets (``disturb``), and how much may be queued; all rows else are answered as live requests are, with whatever a test
has ordered for those. It reads ``files`` and ``batches``.
"""

import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.llm_batch_input import ENDPOINT, count_tokens, input_error, read_input
from tests.fakes.llm_files import File, Files, Wrong, page
from tests.fakes.llm_replies import Drop, Fault, Reply, usual_error

MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000
WINDOW_S = 24 * 3600
_ENDED = ("completed", "failed", "expired", "cancelled")
_numbers = count(1)


class Lot(Enum):
    """What may become of a row besides an answer."""

    EXPIRED = auto()
    TIMED_OUT = auto()
    LOST = auto()
    """It is in no file."""
    GARBLED = auto()
    """Its line is no JSON."""
    BODILESS = auto()
    """Its response has no completion in it."""
    TWICE = auto()
    """It is in both files."""


class After(Enum):
    """A request that is carried out, but whose answer does not arrive."""

    DROP = auto()


@dataclass(frozen=True, slots=True)
class Sent:
    """What goes out."""

    status: int
    body: Mapping[str, Any] | str
    headers: Mapping[str, str] = field(default_factory=dict)


Answering = Callable[[Mapping[str, Any], Reply | None], tuple[int, Any] | None]
"""Status and body for a live request of this body; None where the connection drops."""
_ROW_ERRORS = {
    Lot.EXPIRED: ("batch_expired", "This request could not be executed before the completion window expired."),
    Lot.TIMED_OUT: ("request_timeout", "This request timed out."),
    None: ("batch_cancelled", "This request could not be executed because the batch was cancelled."),
}


@dataclass(slots=True)
class Batch:
    input_file_id: str
    metadata: Mapping[str, str] | None
    created: float
    created_at: int
    rows: list[dict[str, Any]] = field(default_factory=list, repr=False)
    errors: list[dict[str, Any]] = field(default_factory=list)
    tokens: int = 0
    output_expires_after: Mapping[str, Any] | None = None
    status: str = "validating"
    changed: float = 0.0
    counts: dict[str, int] = field(default_factory=lambda: {"total": 0, "completed": 0, "failed": 0})
    output_file_id: str | None = None
    error_file_id: str | None = None
    stamps: dict[str, int] = field(default_factory=dict)
    id: str = field(default_factory=lambda: f"batch_fake{next(_numbers)}")

    def as_json(self) -> dict[str, Any]:
        names = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": ENDPOINT,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "input_file_id": self.input_file_id,
            "completion_window": "24h",
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            "expires_at": self.created_at + WINDOW_S,
            **{f"{name}_at": self.stamps.get(name) for name in names},
            "request_counts": self.counts,
            "metadata": self.metadata,
        }


class BatchAPI:
    """Files and batches; ``answer`` is how a row is answered."""

    def __init__(self, answer: Answering, models: Callable[[], tuple[str, ...]]) -> None:
        self._answer = answer
        self._models = models
        self._lock = threading.RLock()
        self.files = Files(MOST_BYTES)
        self.batches: dict[str, Batch] = {}
        self.clock: Callable[[], float] = time.monotonic
        self.stages = {"validating": 0.0, "in_progress": 0.0, "finalizing": 0.0, "cancelling": 0.0}
        self.fates: dict[str, Lot | Reply] = {}
        self.usual_fate: Lot | Reply | None = None
        self.share_done = 1.0
        """Of the rows, in file order, where a batch expires or is cancelled."""
        self.expires = False
        """Whether batches expire when ``in_progress`` is over, with ``share_done`` of them answered."""
        self.queue_tokens: int | None = None
        """Most tokens in all batches that have not ended; above it a batch fails."""
        self.endpoint = ENDPOINT
        """What rows are for; Azure's has no ``/v1``."""
        self.most_requests = MOST_REQUESTS
        self.is_there = True
        """Whether the server has a Batch API at all."""
        self.watch: Callable[[str, bool], None] = lambda operation, is_done: None
        """Is told of each request to an operation before it is carried out, and after, before it is answered."""
        self.requests: list[str] = []
        """What was asked of it: ``upload``, ``create``, ``retrieve`` and so on, in order."""
        self._disturbances: dict[str, deque[Fault | Drop | After]] = defaultdict(deque)

    def disturb(self, operation: str, *what: Fault | Drop | After) -> None:
        """Order what the next requests to an operation (as ``requests`` calls it) get."""
        self._disturbances[operation].extend(what)

    def respond(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Sent | Drop | None:
        """The answer, None if the path is not of this API."""
        url = urlsplit(path)
        query, parts = dict(parse_qsl(url.query)), url.path.removeprefix("/v1/").split("/")
        if not self.is_there or not url.path.startswith("/v1/") or parts[0] not in ("files", "batches"):
            return None
        found = _OPERATIONS.get((method, parts[0], len(parts), parts[2] if len(parts) > 2 else ""))
        if found is None:
            return None
        self.watch(found, False)
        try:
            return self._respond(found, parts, query, headers, body)
        finally:
            self.watch(found, True)

    def _respond(
        self, found: str, parts: list[str], query: dict[str, str], headers: Mapping[str, str], body: bytes
    ) -> Sent | Drop | None:
        with self._lock:
            self.requests.append(found)
            disturbance = self._disturbances[found].popleft() if self._disturbances[found] else None
            if isinstance(disturbance, Drop):
                return disturbance
            if isinstance(disturbance, Fault):
                return Sent(
                    disturbance.status, disturbance.body or usual_error(disturbance.status), disturbance.headers
                )
            try:
                done = self._do(found, parts[1] if len(parts) > 1 else "", query, headers, body)
            except Wrong as wrong:
                done = Sent(wrong.status, wrong.body)
            return Drop() if disturbance is After.DROP else done

    def _do(self, operation: str, name: str, query: dict[str, str], headers: Mapping[str, str], body: bytes) -> Sent:
        match operation:
            case "upload":
                return Sent(200, self.files.upload(headers["content-type"], body))
            case "files":
                return Sent(200, self.files.page(query))
            case "file":
                return Sent(200, self.files.find(name).as_json())
            case "content":
                text = self.files.find(name).content.decode()
                return Sent(200, text, {"Content-Type": "application/octet-stream"})
            case "delete":
                return Sent(200, self.files.delete(name))
            case "create":
                return Sent(200, self._create(json.loads(body)).as_json())
            case "list":
                newest_first = [self._advanced(batch).as_json() for batch in reversed(self.batches.values())]
                return Sent(200, page(newest_first, query, most=100))
            case "retrieve":
                return Sent(200, self._advanced(self._find(name)).as_json())
            case _:
                return Sent(200, self._cancel(self._advanced(self._find(name))).as_json())

    def _find(self, batch_id: str) -> Batch:
        if batch_id not in self.batches:
            raise Wrong(404, f"No batch found with id '{batch_id}'.", "batch_id")
        return self.batches[batch_id]

    def _create(self, given: Mapping[str, Any]) -> Batch:
        for name in ("input_file_id", "endpoint", "completion_window"):
            if name not in given:
                raise Wrong(400, f"Missing required parameter: '{name}'.", name)
        if given["completion_window"] != "24h":
            raise Wrong(400, "Invalid value: 'completion_window'. Supported values are: '24h'.", "completion_window")
        if given["endpoint"] != self.endpoint:
            raise Wrong(400, f"Invalid value: '{given['endpoint']}'.", "endpoint")
        metadata = given.get("metadata")
        if metadata and (len(metadata) > 16 or any(len(k) > 64 or len(v) > 512 for k, v in metadata.items())):
            raise Wrong(400, "Invalid 'metadata'.", "metadata")
        now = self.clock()
        batch = Batch(given["input_file_id"], metadata, now, int(time.time()), changed=now)
        batch.output_expires_after = given.get("output_expires_after")
        self.batches[batch.id] = batch
        batch.tokens = self._validate(batch)
        return batch

    def _validate(self, batch: Batch) -> int:
        """The rows of a batch, or what is wrong with them; returns the tokens of their prompts."""
        if batch.input_file_id not in self.files.stored:
            batch.errors = [input_error("invalid_input_file", f"The file {batch.input_file_id} cannot be read.")]
            return 0
        lines = self.files.stored[batch.input_file_id].content.decode().split("\n")
        lines = lines[:-1] if lines[-1] == "" else lines
        batch.errors, batch.rows = read_input(lines, self._models(), self.endpoint)
        if len(lines) > self.most_requests:
            message = f"The batch has {len(lines)} requests, at most {self.most_requests} are allowed."
            batch.errors = [input_error("too_many_tasks", message)]
        tokens = sum(map(count_tokens, batch.rows))
        others = [self._advanced(other) for other in self.batches.values() if other is not batch]
        queued = sum(other.tokens for other in others if other.status not in _ENDED)
        if not batch.errors and self.queue_tokens is not None and queued + tokens > self.queue_tokens:
            message = "Enqueued token limit reached for gpt-4o-mini in organization org-fake. Limit: "
            message += f"{self.queue_tokens:,} enqueued tokens. Please try again once some in_progress batches have "
            batch.errors = [input_error("token_limit_exceeded", f"{message}been completed.")]
        return 0 if batch.errors else tokens

    def _advanced(self, batch: Batch) -> Batch:
        """``batch`` as it is by now."""
        while batch.status not in _ENDED and self.clock() >= batch.changed + self.stages[batch.status]:
            batch.changed += self.stages[batch.status]
            match batch.status:
                case "validating":
                    batch.counts["total"] = 0 if batch.errors else len(batch.rows)
                    self._enter(batch, "failed" if batch.errors else "in_progress")
                case "in_progress":
                    self._enter(batch, "finalizing")
                case "finalizing":
                    self._finish(batch, self.share_done if self.expires else 1.0, Lot.EXPIRED)
                    self._enter(batch, "expired" if self.expires else "completed")
                case _:
                    self._finish(batch, self.share_done, None)
                    self._enter(batch, "cancelled")
        return batch

    def _cancel(self, batch: Batch) -> Batch:
        if batch.status in _ENDED or batch.status == "cancelling":
            raise Wrong(409, f"Cannot cancel a batch with status '{batch.status}'.")
        batch.changed = self.clock()
        self._enter(batch, "cancelling")
        return batch

    def _enter(self, batch: Batch, status: str) -> None:
        batch.status = status
        batch.stamps[status] = int(time.time())

    def _finish(self, batch: Batch, share: float, otherwise: Lot | None) -> None:
        """Answer so many of the rows, and write the two files; those that stay empty are not there.

        :param otherwise: what becomes of the other rows.
        """
        done = int(len(batch.rows) * share)
        answered: list[str] = []
        failed: list[str] = []
        for number, row in enumerate(batch.rows):
            for is_answered, line in self._lines(row, None if number < done else otherwise, number < done):
                (answered if is_answered else failed).append(line)
        batch.counts = {"total": len(batch.rows), "completed": len(answered), "failed": len(batch.rows) - len(answered)}
        if answered:
            batch.output_file_id = self._written(f"{batch.id}_output.jsonl", answered)
        if failed:
            batch.error_file_id = self._written(f"{batch.id}_error.jsonl", failed)

    def _written(self, name: str, lines: list[str]) -> str:
        return self.files.keep(File(name, "batch_output", ("\n".join(lines) + "\n").encode())).id

    def _lines(self, row: Mapping[str, Any], otherwise: Lot | None, is_done: bool) -> Iterator[tuple[bool, str]]:
        """What stands of a row in the files: whether in that of the answers, and the line."""
        custom_id = row["custom_id"]
        fate = self.fates.get(custom_id, self.usual_fate) if is_done else otherwise
        if not is_done or fate in (Lot.EXPIRED, Lot.TIMED_OUT):
            yield False, _line(custom_id, None, _ROW_ERRORS[fate if isinstance(fate, Lot) else None])
            return
        if fate is Lot.LOST:
            return
        ordered = None if isinstance(fate, Lot) else fate
        response = self._answer(row["body"], ordered)
        if response is None:
            yield False, _line(custom_id, None, ("server_error", "The server had an error."))
            return
        status, body = response
        if fate is Lot.GARBLED:
            yield True, _line(custom_id, (status, body), None)[:40]
        elif fate is Lot.BODILESS:
            yield True, _line(custom_id, (200, "upstream said nothing"), None)
        else:
            yield status == 200, _line(custom_id, (status, body), None)
        if fate is Lot.TWICE:
            yield False, _line(custom_id, None, _ROW_ERRORS[Lot.TIMED_OUT])


_OPERATIONS = {
    ("POST", "files", 1, ""): "upload",
    ("GET", "files", 1, ""): "files",
    ("GET", "files", 2, ""): "file",
    ("GET", "files", 3, "content"): "content",
    ("DELETE", "files", 2, ""): "delete",
    ("POST", "batches", 1, ""): "create",
    ("GET", "batches", 1, ""): "list",
    ("GET", "batches", 2, ""): "retrieve",
    ("POST", "batches", 3, "cancel"): "cancel",
}


def _line(custom_id: str, response: tuple[int, Any] | None, error: tuple[str, str] | None) -> str:
    number = next(_numbers)
    told = None
    if response:
        told = {"status_code": response[0], "request_id": f"req_{number}", "body": response[1]}
    code = {"code": error[0], "message": error[1]} if error else None
    row = {"id": f"batch_req_{number}", "custom_id": custom_id, "response": told, "error": code}
    return json.dumps(row, ensure_ascii=False)
