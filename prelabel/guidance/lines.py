"""A file that people write, read whole or refused with the line that is wrong.

YAML is read as nodes rather than values, since they know their lines and keep what would be lost: doubles, ``no``.
"""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TypeVar

import yaml

from prelabel.errors import SettingsError

LARGEST_FILE = 1_000_000
"""Bytes: some ten thousand terms or rules, which take a second or two to read."""

_NULL = "tag:yaml.org,2002:null"

T = TypeVar("T")


class WrongLine(Exception):
    """What is wrong, and in which line."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")


def file_state(path: Path) -> Hashable:
    """What differs after the file was edited."""
    try:
        found = path.stat()
    except OSError as error:
        return str(error)
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_lines(setting: str, path: Path, read: Callable[[str], T]) -> T:
    """What ``read`` makes of the file's text.

    :param setting: the variable that names the file.
    :raises SettingsError: it cannot be read, or ``read`` raised ``WrongLine``; the text names both.
    """
    data = b""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
        if len(data) <= LARGEST_FILE:
            return read(data.decode("utf-8-sig"))
        reason = f": it is larger than {LARGEST_FILE:,} bytes"
    except OSError as error:
        reason = f": {error.strerror or error}"
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reason = f", line {line}: it is not UTF-8"
    except WrongLine as wrong:
        reason = f", {wrong}"
    raise SettingsError(f"{setting}={str(path)!r}{reason}")


def compose(text: str) -> yaml.Node | None:
    """The root of a YAML document; None if there is nothing in it.

    :raises WrongLine: it is no YAML.
    """
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise WrongLine(mark.line + 1 if mark else 1, f"it is not YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise WrongLine(line, f"it is not YAML: the character {chr(error.character)!r} may not stand there") from None
    except RecursionError:
        raise WrongLine(1, "it is nested too deep") from None


def line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def scalar(node: yaml.Node, line: int, what: str) -> str:
    """A text as it is written, empty for YAML's null.

    :raises WrongLine: it is a list or a mapping.
    """
    if not isinstance(node, yaml.ScalarNode):
        raise WrongLine(line, f"{what} must be a text")
    return "" if node.tag == _NULL else str(node.value)
