"""How many requests may be in flight: fewer when the server is overloaded, slowly more while it is not.

Additive increase, multiplicative decrease, as TCP does it (Jacobson and Karels, "Congestion Avoidance and Control",
1988), from the top: a server is taken to bear what the settings allow until it says otherwise.
"""

_RESERVED = 8
"""One slot in so many is kept for those who are awaited."""


class Concurrency:
    """The slots of one process for one server.

    :param ceiling: of the slots.
    :param is_awaited: whether anybody ever waits for a single answer of this process; else bulk work has every slot.
    """

    def __init__(self, ceiling: int, *, is_awaited: bool = True) -> None:
        self.size = self._ceiling = ceiling
        self._is_awaited = is_awaited
        self.in_flight: dict[int, bool] = {}
        """Whether it is awaited, by the number of the request."""
        self._begun = 0
        self._successes = 0
        self._cut: set[int] = set()

    def has_room(self, *, is_awaited: bool) -> bool:
        if len(self.in_flight) >= self.size:
            return False
        bulk = len(self.in_flight) - sum(self.in_flight.values())
        reserved = -(-self.size // _RESERVED) if self._is_awaited else 0
        return is_awaited or bulk < max(1, self.size - reserved)

    def begin(self, *, is_awaited: bool) -> int:
        """The number of a request that begins."""
        self._begun += 1
        self.in_flight[self._begun] = is_awaited
        return self._begun

    def end(self, number: int) -> None:
        del self.in_flight[number]
        self._cut.discard(number)

    def overloaded(self) -> None:
        """Halve the slots, but once per round trip: what was in flight then tells nothing of the new size."""
        if self._cut:
            return
        self._cut = set(self.in_flight)
        self.size = max(1, self.size // 2)
        self._successes = 0

    def went_well(self) -> None:
        """One slot more after as many successes as there are slots."""
        self._successes += 1
        if self._successes >= self.size:
            self._successes = 0
            self.size = min(self._ceiling, self.size + 1)
