"""A job that is told to stop: at once while it only waits, else at the next point where nothing is half done.

RQ lets a job finish, however long it takes. ``worker`` sends the process that does it ``SIGTERM``, and some seconds
later again: most jobs are over by then, and what is left is broken off wherever it is.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopWanted(BaseException):
    """The job is to stop. No ``Exception``, so that nothing on the way takes it for a failure."""


class Stopping:
    """Whether this process is to stop."""

    def __init__(self) -> None:
        self._is_wanted = False
        self._may_interrupt = False
        self.is_obeyed = False
        """Whether a job was ended by it."""

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self._note)

    def require_none(self) -> None:
        """:raises StopWanted: the process is to stop."""
        if self._is_wanted:
            self._stop()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A block that may be broken off anywhere.

        :raises StopWanted: the process is to stop.
        """
        self._may_interrupt = True
        try:
            self.require_none()
            yield
        finally:
            self._may_interrupt = False

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        was_wanted, self._is_wanted = self._is_wanted, True
        if was_wanted or self._may_interrupt:
            self._stop()

    def _stop(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what the job holds to write, it writes on its way out
        self.is_obeyed = True
        raise StopWanted


stopping = Stopping()
"""This process's: there is one ``SIGTERM``."""
