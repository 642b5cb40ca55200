"""JSON and JSON Lines to rows. ``NaN``, which Python writes for a missing value and JSON does not have, is null.

A line that is no JSON costs that line; of a document that is no JSON nothing can be trusted, so it is refused.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from prelabel.errors import RequestError
from prelabel.files.rows import NOT_UTF8, Malformed, Row, read_object

_DECODER = json.JSONDecoder(parse_constant=lambda _: None)
_SPACE = re.compile(r"\s*")


def read_json(text: str) -> Iterator[Row | Malformed]:
    """The rows of a list, or of a lone object.

    :raises RequestError: it is no JSON; the text says where.
    """
    for number, (line, written, value) in enumerate(json_values(text), 1):
        yield _read(number, line, written, value)


def read_json_lines(lines: Iterable[str]) -> Iterator[Row | Malformed]:
    """The rows of a file with an object on each line."""
    number = 0
    for line, written in enumerate(lines, 1):
        if not written.strip():
            continue
        number += 1
        try:
            value = _DECODER.decode(written)
        except (ValueError, RecursionError) as error:
            yield Malformed(number, line, f"it is no JSON: {error}")
        else:
            yield _read(number, line, written, value)


def json_values(text: str) -> Iterator[tuple[int, str, Any]]:
    """The values of the list that ``text`` is, else the one value it is: each with its line and as it is written.

    :raises RequestError: it is no JSON; the text says where.
    """
    at, line, counted = _skip(text, 0), 1, 0
    is_list = text.startswith("[", at)
    if is_list:
        at = _skip(text, at + 1)
    is_over = is_list and text.startswith("]", at)
    while not is_over:
        line, counted = line + text.count("\n", counted, at), at
        value, end = _decode(text, at)
        yield line, text[at:end], value
        at = _skip(text, end)
        is_over = not is_list or not text.startswith(",", at)
        if not is_over:
            at = _skip(text, at + 1)
    if is_list and not text.startswith("]", at):
        _refuse(text, at, "Expecting ',' or ']'")
    at = _skip(text, at + is_list)
    if at < len(text):
        _refuse(text, at, "Extra data")


def _read(number: int, line: int, written: str, value: object) -> Row | Malformed:
    if NOT_UTF8.search(written):
        return Malformed(number, line, "it is not UTF-8")
    return read_object(number, line, value)


def _decode(text: str, at: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        _refuse(text, error.pos, error.msg)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of brackets
        _refuse(text, at, str(error))


def _refuse(text: str, at: int, message: str) -> NoReturn:
    line = text.count("\n", 0, at) + 1
    raise RequestError("file", f"it is no JSON: line {line}: {message}")


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
