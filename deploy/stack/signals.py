"""The signals by which people, make and a closing terminal tell the stack to stop."""

import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Whether the stack is to stop; a signal says so by ``KeyboardInterrupt``, wherever the main thread is."""

    def __init__(self) -> None:
        self._asked = False

    def listen(self) -> None:
        for each in SIGNALS:
            if signal.getsignal(each) is not signal.SIG_IGN:  # as nohup wants it
                signal.signal(each, self._ask)

    def require_unasked(self) -> None:
        """:raises KeyboardInterrupt: a signal has come; the exception that it raised may be lost, as within imports."""
        if self._asked:
            raise KeyboardInterrupt

    def disregard(self) -> None:
        """Let no further signal interrupt the ending, such as make's own after the terminal's."""
        for each in SIGNALS:
            signal.signal(each, self._pass)

    def _ask(self, _signal: int, _frame: FrameType | None) -> None:
        self._asked = True
        raise KeyboardInterrupt

    def _pass(self, _signal: int, _frame: FrameType | None) -> None:
        """Not ``SIG_IGN``, of which Python complains where a signal is on its way."""
