"""A job that is told to stop: at once while it only waits, else at the next point where nothing is half done.

RQ lets a job finish, however long it takes. ``worker`` sends the process that does it ``SIGTERM``, and some seconds
later again: most jobs are over by then, and what is left is broken off wherever it is. Where others send the signal to
both processes, as systemd does, it arrives twice at once and counts as one.
"""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SAME_S = 1.0
"""Stop signals that are not further apart than this are one."""


class StopWanted(BaseException):
    """The job is to stop. No ``Exception``, so that nothing on the way takes it for a failure."""


class Stopping:
    """Whether this process is to stop."""

    def __init__(self) -> None:
        self._noted_at = math.inf
        self._may_interrupt = False
        self.is_obeyed = False
        """Whether a job was ended by it."""

    def listen(self) -> None:
        """From now on ``SIGTERM`` is taken for a wish."""
        signal.signal(signal.SIGTERM, self._note)

    def require_none(self) -> None:
        """:raises StopWanted: the process is to stop."""
        if self._noted_at < math.inf:
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
        is_further = time.monotonic() - self._noted_at > SAME_S
        self._noted_at = min(self._noted_at, time.monotonic())
        if is_further or self._may_interrupt:
            self._stop()

    def _stop(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what the job holds to write, it writes on its way out
        self.is_obeyed = True
        raise StopWanted


stopping = Stopping()
"""This process's: there is one ``SIGTERM``."""
