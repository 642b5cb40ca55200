"""A CSV file's text to its columns and rows.

Strict where leniency would lose tickets unnoticed: a stray quote makes Python's reader swallow the lines after it. Such
a row is reported, and reading goes on with the line after its first.
"""

import csv
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from io import StringIO

from prelabel.errors import RequestError
from prelabel.files.rows import NOT_UTF8, Malformed, Row

USUAL_DELIMITERS = (",", ";", "\t", "|")
SAMPLE_CHARS = 8192


def sniff_delimiter(sample: str) -> str:
    """The delimiter of the file that begins with ``sample``; a comma for a file of one column.

    Of those in the header, the one by which most rows have as many fields as the header, two at least. What tickets
    themselves are full of, or what :class:`csv.Sniffer` alone finds, must do so for more than half of them.
    """
    header = next(line for line in StringIO(sample, newline="") if line.strip())
    shares = {each: _agreement(sample, each) for each in USUAL_DELIMITERS if each in header}
    others = (each for each in (*_sniffed(sample), " ", ":") if each in header)
    shares |= {each: share for each in others if (share := _agreement(sample, each)) > 0.5}
    return max(shares, key=shares.__getitem__, default=",")


def read_header(lines: Iterable[str], delimiter: str) -> tuple[str, ...]:
    """The columns' names; one without a name is called by its place.

    :raises RequestError: there is no header, or two columns share a name.
    """
    try:
        fields = next((fields for fields in _reader(lines, delimiter) if any(map(str.strip, fields))), [])
    except csv.Error as error:
        raise RequestError("file", f"its header row cannot be read: {error}") from None
    names = [field.strip() or f"column {place}" for place, field in enumerate(fields, 1)]
    if not names:
        raise RequestError("file", "it has no header row")
    if NOT_UTF8.search("".join(names)):
        raise RequestError("file", "its header row is not UTF-8")
    for name in names:
        if names.count(name) > 1:
            raise RequestError("file", f"two of its columns are called {name!r}")
    return tuple(names)


def read_csv(lines: Iterable[str], delimiter: str) -> Iterator[Row | Malformed]:
    """The rows below the header."""
    columns = read_header(lines := _Lines(lines), delimiter)
    reader, number = _reader(lines, delimiter), 0
    while True:
        line = lines.begin_row()
        try:
            fields = next(reader, None)
            reason = _what_is_wrong(fields, columns, lines.row) if fields else ""
        except csv.Error as error:
            lines.go_back()
            fields, reason = [""], f"its quotes do not match ({error})"
        if fields is None:
            return
        if fields:
            number += 1
            row = Row(number, line, dict(zip(columns, fields, strict=False)))
            yield Malformed(number, line, reason) if reason else row


class _Lines:
    """Lines that remember which of them make up the current row, and can be read again from its second on."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._again: deque[str] = deque()
        self._read = 0
        self.row: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.row.append(self._again.popleft() if self._again else next(self._lines))
        return self.row[-1]

    def begin_row(self) -> int:
        """The number of the line that is read next."""
        self._read += len(self.row)
        self.row = []
        return self._read + 1

    def go_back(self) -> None:
        self._again.extendleft(reversed(self.row[1:]))
        del self.row[1:]


def _reader(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(sys.maxsize)  # a ticket may well be longer than the module's 128 KB
    return csv.reader(lines, delimiter=delimiter, strict=True)


def _what_is_wrong(fields: list[str], columns: tuple[str, ...], lines: list[str]) -> str:
    if NOT_UTF8.search("".join(lines)):
        return "it is not UTF-8"
    if len(fields) != len(columns):
        return f"it has {len(fields)} fields, the header has {len(columns)}"
    return ""


def _sniffed(sample: str) -> list[str]:
    try:
        delimiter = csv.Sniffer().sniff(sample).delimiter
    except csv.Error:
        return []
    return [] if delimiter.isalnum() or delimiter in "\r\n\"'_" else [delimiter]


def _agreement(sample: str, delimiter: str) -> float:
    """The share of rows with as many fields as the header; 0 if that has but one."""
    counts = [len(fields) for fields in csv.reader(StringIO(sample, newline=""), delimiter=delimiter) if fields]
    header, rows = counts[0], counts[1:-1] or counts[1:]  # the last may be cut off
    return rows.count(header) / len(rows) if rows and header > 1 else 0.0
