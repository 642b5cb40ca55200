"""A file of tickets to its rows, whatever its format: CSV, JSON or JSON Lines, in UTF-8 with or without a BOM.

The file is read as often as it is asked for its rows, since reviewed ones must be known before the first is asked about
and a file may be larger than memory; a JSON document alone is held in it as a whole. Read ``rows`` next.
"""

import codecs
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import IO, Literal

from prelabel.errors import RequestError
from prelabel.files.csv_rows import SAMPLE_CHARS, read_csv, read_header, sniff_delimiter
from prelabel.files.json_rows import read_json, read_json_lines
from prelabel.files.rows import Malformed, Row

STDIN = "-"

Format = Literal["csv", "json", "jsonl"]


class TicketFile:
    """An open file of tickets.

    :param file: seekable.
    :param name: its ending tells the format where the content does not.
    :raises RequestError: it is empty, not UTF-8, or its header cannot be read.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        with self._text() as text:
            sample = text.read(SAMPLE_CHARS)
        if not sample.strip():
            raise RequestError("file", "it is empty")
        self._format = _format(name, sample)
        self._delimiter = sniff_delimiter(sample)
        self.columns: tuple[str, ...] = ()
        """A CSV file's; empty for another format, whose rows need not have the same."""
        if self._format == "csv":
            with self._text() as text:
                self.columns = read_header(text, self._delimiter)

    def rows(self) -> Iterator[Row | Malformed]:
        """All rows, from the first.

        :raises RequestError: a JSON document is none.
        """
        with self._text() as text:
            match self._format:
                case "csv":
                    yield from read_csv(text, self._delimiter)
                case "json":
                    yield from read_json(text.read())
                case "jsonl":
                    yield from read_json_lines(text)

    @contextmanager
    def _text(self) -> Iterator[TextIOWrapper]:
        self._file.seek(0)
        if self._file.read(2) in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
            raise RequestError("file", "it is UTF-16: save it as UTF-8")
        self._file.seek(0)
        text = TextIOWrapper(self._file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        try:
            yield text
        finally:
            if not self._file.closed:  # else nobody reads on, after an interruption
                text.detach()


@contextmanager
def open_tickets(path: str) -> Iterator[TicketFile]:
    """The tickets in the file at ``path``; ``-`` for standard input.

    :raises RequestError: it cannot be read; the text says why.
    """
    try:
        file = _open(path)
    except OSError as error:
        raise RequestError("file", f"it cannot be read: {error.strerror}") from None
    with file:
        yield TicketFile(file, path)


def _open(path: str) -> IO[bytes]:
    """The file at ``path``; of a pipe, which can be read but once, a copy."""
    file = sys.stdin.buffer if path == STDIN else Path(path).open("rb")  # noqa: SIM115 - the caller closes it
    if path != STDIN and file.seekable():
        return file
    with file:
        copy = TemporaryFile()  # noqa: SIM115 - the caller closes it
        copyfileobj(file, copy)
    return copy


def _format(name: str, sample: str) -> Format:
    """By the file's ending and its first character; what a JSON file begins with, no other does."""
    ending, start = Path(name).suffix.lower(), sample.lstrip()[:1]
    if ending in {".csv", ".tsv"}:
        return "csv"
    if start == "[":
        return "json"
    if ending in {".jsonl", ".ndjson"}:
        return "jsonl"
    if start == "{":
        return "jsonl" if _is_json(sample.lstrip().partition("\n")[0]) else "json"
    return "json" if ending == ".json" else "csv"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
