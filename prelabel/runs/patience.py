"""How long something outside may be away until a run gives up."""

import time
from collections.abc import Callable


class Patience:
    """Of one who tries again and again; not shared between threads.

    :param within_s: how long an outage may take.
    :param clock: seconds.
    """

    def __init__(self, within_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._within_s = within_s
        self._clock = clock
        self._away_since = 0.0
        self._progress = 0
        self.tries = 0
        """Of this outage."""

    def is_over(self, progress: int) -> bool:
        """Whether to give up, now that a try has failed.

        :param progress: a number that is another one once something has gone well: what fails then is another outage.
            How long a try takes tells nothing, for it may have waited for an answer all the time.
        """
        now = self._clock()
        if not self.tries or progress != self._progress:
            self.tries, self._away_since, self._progress = 0, now, progress
        self.tries += 1
        return now - self._away_since > self._within_s
