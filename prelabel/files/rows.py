"""One row of a file: a ticket's data, with what people have made of it already; or what is wrong with it.

A JSON object is a Label Studio task if it holds an object under ``data``, else it is itself the data.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prelabel.errors import RequestError
from prelabel.studio.label_config import LabelConfig

NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""How bytes that are not UTF-8 are read here (PEP 383)."""
_TYPES: Mapping[str, tuple[type, ...]] = {
    "text": (str, int, float, list),
    "hypertext": (str,),
    "paragraphs": (list, str),
}
"""What Label Studio 1.23 takes for an object tag (``tasks/validation.py``); for anything else it imports nothing."""


@dataclass(frozen=True, slots=True)
class Row:
    """A ticket as the file has it."""

    number: int
    """1 for the first."""
    line: int
    """Where it begins in the file, 1 for the first line."""
    data: Mapping[str, Any]
    annotations: tuple[Mapping[str, Any], ...] = ()
    meta: Mapping[str, Any] | None = None

    @property
    def key(self) -> str:
        """A hash of the data: what an answer to this row is found by."""
        return hashlib.sha256(json.dumps(self.data, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Malformed:
    """A row that is left out."""

    number: int
    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line} (row {self.number}) is left out: {self.reason}"


def read_object(number: int, line: int, value: object) -> Row | Malformed:
    """The row that a JSON value stands for."""
    if not isinstance(value, dict):
        return Malformed(number, line, f"it is no object but {json.dumps(value)[:40]}")
    if not isinstance(value.get("data"), dict):
        return Row(number, line, value)
    annotations, meta = value.get("annotations") or [], value.get("meta")
    if not isinstance(annotations, list) or not all(_is_annotation(each) for each in annotations):
        return Malformed(number, line, "its annotations are no list of objects with a list as result")
    return Row(number, line, value["data"], tuple(annotations), meta if isinstance(meta, dict) and meta else None)


def why_not_importable(data: Mapping[str, Any], config: LabelConfig) -> str:
    """Why Label Studio would refuse a task with this data, and with it the whole file; empty if it would not."""
    for source in config.sources.values():
        name = source.value.removeprefix("$")
        if name == source.value or not name.isidentifier():
            continue  # a fixed text, or one put together, which Label Studio does not look up
        if name not in data:
            return f"it has no {name!r}, which the label config shows"
        if not isinstance(data[name], _TYPES[source.kind]):
            return f"its {name!r} is {json.dumps(data[name])[:40]}, which the label config cannot show as {source.kind}"
    return ""


def check_columns(columns: Sequence[str], config: LabelConfig) -> None:
    """:raises RequestError: what the label config shows is none of a table's columns."""
    reason = why_not_importable(dict.fromkeys(columns, ""), config)
    if columns and reason:
        raise RequestError("file", f"{reason}; its columns are {', '.join(columns)}")


def _is_annotation(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("result"), list)
