"""A job that is told to stop: at once while it only waits, else at the next point where nothing is half done.

RQ lets a job finish, however long it takes; a bulk run of hours is put back instead. The signal is ``SIGTERM``, which
``worker`` passes on to the process that does the job.
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

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self._note)

    def require_none(self) -> None:
        """:raises StopWanted: the process is to stop."""
        if self._is_wanted:
            raise StopWanted

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
        self._is_wanted = True
        if self._may_interrupt:
            self._may_interrupt = False
            raise StopWanted


stopping = Stopping()
"""This process's: there is one ``SIGTERM``."""
