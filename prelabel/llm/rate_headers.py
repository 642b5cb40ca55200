"""What servers say of their limits in HTTP headers, as requests and tokens a minute and as seconds to wait.

The names are much the same everywhere, and what they mean is not. A limit may be a minute's or a day's (Groq's
``x-ratelimit-limit-requests`` is always a day's, its tokens a minute's; OpenAI's free tier mixes them too), and which,
only the reset tells: the time until nothing is used up any more. For a bucket that refills all the time it is
``used / limit`` of the window, so 1 of 5000 used and ``12ms`` is a minute, 1 of 10000 and ``8.64s`` a day. A day's
limit is no pace: it may be used up as fast as the minute's allows.

Forms that were seen are in ``tests/unit/test_rate_headers.py``, each with its source.
"""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from prelabel.core.rates import MINUTE_S, Rates

_DAY_S = 86_400.0
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|µs|us|ns|d|h|m|s)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_UNIT_S = {"d": _DAY_S, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}
_FIRST_EPOCH_S, _FIRST_EPOCH_MS = 1e9, 1e12
"""Numbers from here on are no durations but times: seconds, or milliseconds as OpenRouter has them."""

_KINDS = {"requests": ("requests", "req"), "tokens": ("tokens",)}


@dataclass(frozen=True, slots=True)
class Heard:
    """What one answer says: a minute's limits, and how long to wait since nothing is left of one."""

    rates: Rates = field(default_factory=Rates)
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Limit:
    """One limit as the headers have it; ``window_s`` where they name it."""

    limit: float | None
    remaining: float | None
    reset_s: float | None
    window_s: float | None

    @property
    def a_minute(self) -> float:
        """0 where there is none, or where it is that of a longer window."""
        if self.limit is None or self.limit <= 0:  # Azure sends -1 at times, Mistral 0 for a model not on the plan
            return 0.0
        if self.window_s is not None:
            return self.limit * MINUTE_S / self.window_s if 0 < self.window_s <= MINUTE_S else 0.0
        if self.reset_s is None:
            return self.limit
        return 0.0 if self.reset_s > MINUTE_S + 2 or self._refills_in_a_day else self.limit

    @property
    def _refills_in_a_day(self) -> bool:
        if self.limit is None or self.remaining is None or self.reset_s is None or self.remaining >= self.limit:
            return False
        window_s = self.reset_s * self.limit / (self.limit - self.remaining)
        return abs(window_s - _DAY_S) < 0.02 * _DAY_S

    @property
    def pause_s(self) -> float:
        """Until the window's end, but no more than a minute.

        None for a minute's bucket, which is told by being empty with a whole minute until it is full: it has room for
        the next request a moment later.
        """
        if self.remaining != 0 or not self.reset_s or self.reset_s < 0:
            return 0.0
        is_bucket = self.a_minute > 0 and abs(self.reset_s - MINUTE_S) <= 1
        return 0.0 if is_bucket else min(self.reset_s, MINUTE_S)


def read_limits(headers: Mapping[str, str]) -> Heard:
    """What ``headers`` say; of several limits of one kind the tightest."""
    lower = {name.lower(): value for name, value in headers.items()}
    found = {kind: list(_limits(lower, kind)) for kind in _KINDS}
    rates = {
        kind: min((limit.a_minute for limit in limits if limit.a_minute), default=0.0) for kind, limits in found.items()
    }
    pauses = [limit.pause_s for limits in found.values() for limit in limits]
    return Heard(Rates(**rates), max(pauses, default=0.0))


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds that a 429 or 503 asks to wait; 0 if it does not say.

    ``retry-after-ms`` is OpenAI's and Azure's; ``retry-after`` is seconds or a date (RFC 9110, section 10.2.3); some
    name only a reset (Azure: openai-python's issue 937; OpenRouter: ``X-RateLimit-Reset``).
    """
    lower = {name.lower(): value for name, value in headers.items()}
    for name, unit_s in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        if (seconds := _seconds(lower.get(name, ""), lower)) is not None:
            return max(0.0, seconds * unit_s)
    general = _Limit(
        None, _number(lower.get("x-ratelimit-remaining")), _seconds(lower.get("x-ratelimit-reset"), lower), None
    )
    return max(
        general.pause_s, read_limits(headers).pause_s, _seconds(lower.get("x-rate-limit-reset-tokens"), lower) or 0.0
    )


def _limits(headers: Mapping[str, str], kind: str) -> Iterator[_Limit]:
    for word in _KINDS[kind]:
        for ending, window_s in ((word, None), (f"{word}-minute", MINUTE_S)):  # Mistral, Cerebras
            period_s = _number(headers.get(f"x-ratelimit-renewalperiod-{ending}"))  # Azure, GitHub
            yield _limit(headers, f"x-ratelimit-{{}}-{ending}", window_s if period_s is None else period_s)
    yield _limit(headers, f"anthropic-ratelimit-{kind}-{{}}", None)


def _limit(headers: Mapping[str, str], name: str, window_s: float | None) -> _Limit:
    limit, remaining = (_number(headers.get(name.format(part))) for part in ("limit", "remaining"))
    return _Limit(limit, remaining, _seconds(headers.get(name.format("reset")), headers), window_s)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _seconds(text: str | None, headers: Mapping[str, str]) -> float | None:
    """A duration (``6m0s``, ``120ms``, ``55``), or a time as the seconds until then by the server's own clock."""
    text = (text or "").strip()
    if (number := _number(text)) is not None:
        if number >= _FIRST_EPOCH_S:
            return number / (1e3 if number >= _FIRST_EPOCH_MS else 1) - _now(headers)
        return number
    if _DURATION.fullmatch(text):
        return sum(float(count) * _UNIT_S[unit] for count, unit in _PART.findall(text))
    moment = _time(text)
    return None if moment is None else moment.timestamp() - _now(headers)


def _time(text: str | None) -> datetime | None:
    """RFC 3339 as Anthropic has it, or HTTP's own form."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text or "")
        except (ValueError, TypeError):
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def _now(headers: Mapping[str, str]) -> float:
    sent = _time(headers.get("date"))
    return sent.timestamp() if sent else time.time()
