"""How fast a server may be asked: values that the LLM's side and the store's side of it share.

Pacing is by GCRA, a leaky bucket that keeps one number: the time at which the next request is due. Requests are spread
evenly, since providers count in ways that differ and an even pace suits all of them: a bucket that refills all the time
(Anthropic's documentation, "Rate limits"; Groq's and OpenAI's reset headers), a window that slides or starts with each
minute (measured at Cohere and Mistral), and slices of one or ten seconds (Azure's documentation, "Understanding rate
limits": 600 a minute may be enforced as 10 a second).
"""

from dataclasses import dataclass

USED_SHARE = 0.97
"""The share of a limit that is used: what arrives a little later than it left must not be one too many."""
BURST_S = 1.0
"""Seconds whose share is saved up while nobody asks. In no minute that makes more than ``61/60 * USED_SHARE`` of it."""
MINUTE_S = 60.0
MEMBER_S = 60.0
"""A process that has not asked for so long is no longer counted."""
CONFIRMED_S = 600.0
"""A limit that was learned gives way to a higher one once it has not been heard for so long."""
LONGEST_PAUSE_S = 600.0
"""A server that asks for more is tried again after this: its limit may have been raised meanwhile."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Requests and tokens a minute; 0 where that is not known."""

    requests: float = 0.0
    tokens: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.requests or self.tokens)

    def __truediv__(self, parts: int) -> "Rates":
        return Rates(self.requests / parts, self.tokens / parts)

    def over(self, others: "Rates") -> "Rates":
        """These, and those of ``others`` where these are not known."""
        return Rates(self.requests or others.requests, self.tokens or others.tokens)


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether a request may go ``wait_s`` seconds from now; if not, it must ask again about then."""

    is_granted: bool
    wait_s: float = 0.0
    processes: int = 1
    """How many processes ask, this one included."""
    is_known: bool = True
    """Whether anybody has heard yet what the server says of its limits, if only that it says nothing."""
    is_limited: bool = True
    """Whether there is any limit, so that each request needs a turn of its own."""


@dataclass(frozen=True, slots=True)
class Noted:
    """What has become known since the last turn.

    ``requests`` and ``tokens`` are what was used beyond what turns were granted for; below 0 for what is given back.
    """

    requests: float = 0.0
    tokens: float = 0.0
    learned: Rates = Rates()
    pause_s: float = 0.0

    def __add__(self, later: "Noted") -> "Noted":
        return Noted(
            self.requests + later.requests,
            self.tokens + later.tokens,
            later.learned.over(self.learned),
            max(self.pause_s, later.pause_s),
        )
