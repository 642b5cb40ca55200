"""What the doctor finds, as values: one finding per check, each failure with its cure.

``check`` is a name that programs may rely on; ``message`` and ``cure`` are for people. Read ``examination`` next, which
says what is checked in which order.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    state: State
    message: str
    cure: str = ""
    """What to do about it; empty where nothing is to be done."""


Checking = Generator[Finding, None, str]
"""A check tells its findings, and returns why what depends on it is to be skipped, empty if it is not."""


def ok(check: str, message: str) -> Finding:
    return Finding(check, "ok", message)


def warning(check: str, message: str, cure: str) -> Finding:
    return Finding(check, "warning", message, cure)


def failed(check: str, message: str, cure: str) -> Finding:
    return Finding(check, "failed", message, cure)


def skipped(check: str, because: str) -> Finding:
    return Finding(check, "skipped", because)


def are(names: Sequence[str]) -> str:
    """``PORT is``, ``HOST and PORT are``, ``HOST, PORT and REDIS_URL are``."""
    *others, last = names
    return f"{', '.join(others)} and {last} are" if others else f"{last} is"


def summary(findings: Sequence[Finding]) -> str:
    """``12 checks: 10 ok, 1 warning, 1 failed``."""
    states: list[str] = [finding.state for finding in findings]
    counts = {name: states.count(name) for name in ("ok", "warning", "failed", "skipped")}
    counts = {name + "s" * (name == "warning" and count > 1): count for name, count in counts.items() if count}
    return f"{len(states)} checks: {', '.join(f'{count} {name}' for name, count in counts.items())}"
