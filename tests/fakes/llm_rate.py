"""A strict limiter for the fake LLM server: so many requests in any sixty seconds, told in the headers of OpenAI."""

import threading
import time
from collections import deque
from collections.abc import Callable


class SlidingWindow:
    """Counts what it admits in the last ``window_s`` seconds, and refuses the first request that is one too many.

    :param tells: whether answers say how much is left.
    """

    def __init__(
        self, limit: int, window_s: float = 60.0, *, tells: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self.window_s = window_s
        self.tells = tells
        self.admitted: list[float] = []
        """When; all of them."""
        self.refused: list[float] = []
        self._clock = clock
        self._recent: deque[float] = deque()
        self._lock = threading.Lock()

    def admit(self) -> tuple[bool, dict[str, str]]:
        """Whether a request that comes now is answered, and the headers of its answer."""
        with self._lock:
            now = self._clock()
            while self._recent and self._recent[0] <= now - self.window_s:
                self._recent.popleft()
            is_admitted = len(self._recent) < self.limit
            (self.admitted if is_admitted else self.refused).append(now)
            if is_admitted:
                self._recent.append(now)
            told = self._told(now) if self.tells else {}
            if is_admitted:
                return True, told
            wait_s = self._recent[0] + self.window_s - now
            return False, {
                **told,
                "retry-after": str(-int(-wait_s // 1)),
                "retry-after-ms": str(-int(-wait_s * 1e3 // 1)),
            }

    def _told(self, now: float) -> dict[str, str]:
        """The reset is when the window is empty again; while it is full, when it has room."""
        left = self.limit - len(self._recent)
        reset_s = (self._recent[-1] if left else self._recent[0]) + self.window_s - now if self._recent else 0.0
        return {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(left),
            "x-ratelimit-reset-requests": f"{reset_s:.3f}s",
        }
