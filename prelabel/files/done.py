"""What has been answered of a file so far, on disk: an interruption costs no more than what was not yet added.

It is a file beside the one that is being made, with an answer a line, ``{"key": ..., "prediction": ...}``, and no
ticket's text but what a rationale quotes. Answers of another model version are passed over.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from prelabel.errors import RequestError
from prelabel.studio.predictions import Item


class Done:
    """Predictions by row key; a context manager, in which no other process can open the same file.

    :raises RequestError: another process has it.
    """

    def __init__(self, path: Path, version: str) -> None:
        self._path = path
        self._version = version
        self._file = path.open("a+b")
        self._places: dict[str, int] = {}
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise RequestError("file", f"another process is at work on it ({path} is locked)") from None
        self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: str) -> Item | None:
        if key not in self._places:
            return None
        self._file.seek(self._places[key])
        item: Item = json.loads(self._file.readline())["prediction"]
        return item

    def add(self, predictions: Mapping[str, Item]) -> None:
        """Keep these; they are on disk when this returns."""
        end = self._file.seek(0, os.SEEK_END)
        for key, item in predictions.items():
            line = json.dumps({"key": key, "prediction": item}).encode() + b"\n"
            self._file.write(line)
            self._places[key] = end
            end += len(line)
        self._file.flush()
        os.fsync(self._file.fileno())

    def remove(self) -> None:
        """Delete the file."""
        self._path.unlink()

    def _read(self) -> None:
        """Find the lines; a last one that was cut off is taken out, so that the next does not continue it."""
        self._file.seek(0)
        place = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                self._file.truncate(place)
                break
            if (key := self._key(line)) is not None:
                self._places[key] = place
            place += len(line)

    def _key(self, line: bytes) -> str | None:
        try:
            kept = json.loads(line)
            return str(kept["key"]) if kept["prediction"]["model_version"] == self._version else None
        except (ValueError, LookupError, TypeError):
            return None
