"""A folder of guidelines (``CONTEXT_DIR``) to its snippets.

Markdown and plain text, in folders of folders; hidden ones are passed over. A file that is too large, is no UTF-8 or
lies outside of the folder behind a link is left out, and the log says so; so is a folder behind a link.
"""

import logging
import os
import stat
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prelabel.core.snippets import split_guideline
from prelabel.core.types import Note
from prelabel.errors import SettingsError

log = logging.getLogger(__name__)

ENDINGS = frozenset({".md", ".txt"})
LARGEST_FILE = 1_000_000
"""Bytes; guidelines that people write are a hundredth of it."""
MOST_ENTRIES = 2000
"""Files and folders that are looked at, each time anew: nobody means the whole disk."""
MOST_SNIPPETS = 10_000


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    name: str
    """Below the folder, with slashes."""
    size: int
    state: Hashable


def folder_state(folder: Path) -> Hashable:
    """What differs after a file was added, removed or edited; cheap enough to be asked for at every request."""
    try:
        return tuple((file.name, file.state) for file in _files(folder))
    except SettingsError as error:
        return str(error)


def read_snippets(folder: Path) -> list[Note]:
    """The snippets of all files, in the order of their names.

    :raises SettingsError: it is no folder, or there is too much in it.
    """
    if not folder.is_dir():
        raise SettingsError(f"CONTEXT_DIR={str(folder)!r} is no folder")
    notes: list[Note] = []
    for file in _files(folder, _leave_out):
        text = _read(file, folder.resolve())
        notes += split_guideline(file.name, text, has_headings=file.path.suffix.lower() == ".md")
        if len(notes) > MOST_SNIPPETS:
            raise SettingsError(
                f"CONTEXT_DIR={str(folder)!r} holds more than {MOST_SNIPPETS:,} snippets: "
                "keep in it what says how to label"
            )
    return notes


def _files(folder: Path, leave_out: Callable[[object, str], object] = lambda *_: None) -> Iterator[_File]:
    """The guidelines' files below ``folder``.

    :param leave_out: told of what is none of them for a reason that may be a mistake.
    :raises SettingsError: there are too many.
    """
    entries = 0
    for place, folders, files in os.walk(folder, onerror=lambda error: leave_out(error.filename, str(error.strerror))):
        entries += len(folders) + len(files)
        if entries > MOST_ENTRIES:
            raise SettingsError(
                f"CONTEXT_DIR={str(folder)!r} holds more than {MOST_ENTRIES:,} files: give the guidelines a folder "
                "of their own"
            )
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if (Path(place) / name).is_symlink():
                leave_out(Path(place) / name, "it is a link to a folder")
        for path in (Path(place) / name for name in sorted(files) if not name.startswith(".")):
            if path.suffix.lower() in ENDINGS and (found := _stat(path)):
                state = found.st_mtime_ns, found.st_size, found.st_ino
                yield _File(path, path.relative_to(folder).as_posix(), found.st_size, state)


def _stat(path: Path) -> os.stat_result | None:
    """None for what cannot be read as a file: a link to nothing, a pipe."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _read(file: _File, root: Path) -> str:
    """Its text, empty where it is left out."""
    if not file.path.resolve().is_relative_to(root):
        return _leave_out(file.path, "it is a link out of the folder")
    if file.size > LARGEST_FILE:
        return _leave_out(file.path, f"it is larger than {LARGEST_FILE:,} bytes")
    try:
        return file.path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        return _leave_out(file.path, "it is not UTF-8")
    except OSError as error:
        return _leave_out(file.path, str(error.strerror))


def _leave_out(path: object, reason: str) -> str:
    log.warning("CONTEXT_DIR: %s is left out: %s", path, reason)
    return ""
