"""The files of the fake LLM's Batch API: ``/v1/files``, as OpenAI documents it.

Of the openai-python package: ``types/file_object.py``, ``types/file_deleted.py``, ``resources/files.py``.
"""

import time
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from itertools import count
from typing import Any

from tests.fakes.llm_replies import error_body

THIRTY_DAYS_S = 30 * 24 * 3600
_numbers = count(1)


class Wrong(Exception):
    """The request gets this status and this text."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(message, param=param)


@dataclass(frozen=True, slots=True)
class File:
    name: str
    purpose: str
    content: bytes = field(repr=False)
    expires_in_s: int | None = None
    asks_to_expire: bool = False
    """Whether that was asked for, and is not just what the provider does."""
    id: str = field(default_factory=lambda: f"file-fake{next(_numbers)}")
    created_at: int = field(default_factory=lambda: int(time.time()))

    def as_json(self) -> dict[str, Any]:
        expires_at = self.created_at + self.expires_in_s if self.expires_in_s else None
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "expires_at": expires_at,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


class Files:
    """What is stored, by id, oldest first; used under the lock of whoever has it.

    :param most_bytes: of one file with the purpose "batch".
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.stored: dict[str, File] = {}
        self.deleted: list[str] = []

    def keep(self, file: File) -> File:
        self.stored[file.id] = file
        return file

    def upload(self, content_type: str, body: bytes) -> dict[str, Any]:
        """:raises Wrong: it is no upload that OpenAI would take."""
        parts = _read_form(content_type, body)
        if "purpose" not in parts or "file" not in parts:
            raise Wrong(400, "'file' and 'purpose' are required")
        purpose, (name, content) = parts["purpose"][1].decode(), parts["file"]
        if purpose != "batch":
            raise Wrong(400, f"'{purpose}' is not one of ['batch'] - 'purpose'", "purpose")
        if not name.endswith(".jsonl"):
            raise Wrong(400, "Invalid extension. The Batch API only supports .jsonl files.", "file")
        if len(content) > self.most_bytes:
            raise Wrong(413, f"The file is larger than {self.most_bytes} bytes.", "file")
        seconds = parts.get("expires_after[seconds]")
        if seconds and parts.get("expires_after[anchor]", ("", b""))[1] != b"created_at":
            raise Wrong(400, "Missing required parameter: 'expires_after.anchor'.", "expires_after.anchor")
        expires_in_s = int(seconds[1]) if seconds else THIRTY_DAYS_S
        return self.keep(File(name, purpose, content, expires_in_s, seconds is not None)).as_json()

    def find(self, file_id: str) -> File:
        """:raises Wrong: there is none, or no longer."""
        if file_id not in self.stored:
            raise Wrong(404, f"No such File object: {file_id}", "id")
        return self.stored[file_id]

    def delete(self, file_id: str) -> dict[str, Any]:
        """:raises Wrong: there is none, or no longer."""
        self.find(file_id)
        del self.stored[file_id]
        self.deleted.append(file_id)
        return {"id": file_id, "object": "file", "deleted": True}

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        """The newest first, by default."""
        found = [file.as_json() for file in self.stored.values() if query.get("purpose", file.purpose) == file.purpose]
        return page(found if query.get("order") == "asc" else found[::-1], query, most=10_000)


def page(found: list[dict[str, Any]], query: dict[str, str], most: int) -> dict[str, Any]:
    """One page of a list; ``after`` names the last of the page before."""
    ids = [each["id"] for each in found]
    start = ids.index(query["after"]) + 1 if "after" in query else 0
    limit = int(query.get("limit", 20))
    if not 1 <= limit <= most:
        raise Wrong(400, f"Invalid 'limit': expected a value between 1 and {most}.", "limit")
    shown = found[start : start + limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": start + limit < len(found),
    }


def _read_form(content_type: str, body: bytes) -> dict[str, tuple[str, bytes]]:
    """The fields of a multipart form, each with the name of its file, if it is one."""
    whole = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields: dict[str, tuple[str, bytes]] = {}
    for part in whole.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        fields[str(name)] = (part.get_filename() or "", content)
    return fields
