"""What is made of a file or folder, kept in the process, and made anew when that has changed.

An edit counts from the next ticket on, in every process. Where it leaves something that cannot be used, what was made
last serves on and the log says why: nobody's tickets are to wait for a half-saved file.
"""

import logging
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from prelabel.errors import SettingsError

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class _Entry(Generic[T]):
    lock: threading.Lock = field(default_factory=threading.Lock)
    state: Hashable = None
    value: T | None = None
    error: str = ""


class Watched(Generic[T]):
    """What ``make`` makes of a path, as long as ``look`` finds the same there; thread-safe.

    :param look: raises nothing; what it returns differs after every change.
    """

    def __init__(self, look: Callable[[Path], Hashable], make: Callable[[Path], T]) -> None:
        self._look = look
        self._make = make
        self._lock = threading.Lock()
        self._entries: dict[Path, _Entry[T]] = {}

    def get(self, path: Path) -> T:
        """:raises SettingsError: nothing could be made of it, neither now nor before."""
        with self._lock:
            entry = self._entries.setdefault(path, _Entry())
        with entry.lock:
            state = self._look(path)
            if state != entry.state:
                self._renew(entry, path)
                entry.state = state
            if entry.value is None:
                raise SettingsError(entry.error)
            return entry.value

    def _renew(self, entry: _Entry[T], path: Path) -> None:
        try:
            entry.value = self._make(path)
        except SettingsError as error:
            entry.error = str(error)
            if entry.value is not None:
                log.warning("%s; what was read of it before serves on", error)
