"""What speaks for a ticket's label: numbers from 0 to 1 by name, some missing; and which of them to go by alone.

``quality.calibration`` makes one probability of them; until there is evidence for that, the score is the best single
one. With each answer they are kept as some characters, so that scores can be made of them anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from math import exp, isfinite, log

Signals = Mapping[str, float]

REVIEWED = "reviewed"
"""How often people have given these labels to the very same text, all alike: of ``n`` times (n + 0.5) / (n + 1), the
share to expect after n of n (Krichevsky and Trofimov, "The performance of universal encoding", 1981)."""
LOGPROB = "logprob"
"""The probability of the label's own tokens, from an LLM's log-probabilities."""
AGREEMENT = "agreement"
"""The share of several answers to the same request that say so."""
STATED = "stated"
"""The confidence an LLM states when asked for it."""
RULES = "rules"
"""The precision, on evidence, of the rules that say so."""
WEAK = "weak"
"""The weak model's probability of the label; where another made the label, of that one."""
NEIGHBORS = "neighbors"
"""The similarity-weighted share of the nearest reviewed tickets that have the label (see ``neighbors``)."""
POOL = "pool"
"""The probability that the votes of all methods come to (see ``fusion``)."""

SIGNALS = (REVIEWED, LOGPROB, AGREEMENT, STATED, RULES, POOL, WEAK, NEIGHBORS)
"""From the one to go by first, where nothing is known of a project yet.

A signal of the answerer itself comes before one of others, since those may know next to nothing: a weak model of 30
tickets gives every label of 77 a low probability. Of an LLM's own, token probabilities tell right from wrong best
(Kadavath et al., "Language models (mostly) know what they know", 2022), then agreement (Wang et al., "Self-consistency
improves chain of thought reasoning", 2023, section 3.5), and stated confidence least: most is between 0.8 and 1 (Xiong
et al., "Can LLMs express their uncertainty?", 2024, section 5). A rule's precision and the pool's probability stand
before the last two, of which they are made or which they contradict only now and then.
"""

STAGES = {
    "reviewed": (REVIEWED,),
    "rules": (RULES,),
    "weak_model": (WEAK, NEIGHBORS),
    "llm": (),
    "escalation": (),
    "ensemble": (POOL,),
}
"""Who makes labels, each with a calibrator of its own, and its own signals where these are not ``SIGNALS``' first."""

NOTHING_SPEAKS_FOR_IT = 0.0
"""The score of a label without any signal: a person looks at it first."""


_STAGES_KEPT = ("", "reviewed", "rules", "weak_model", "llm", "escalation", "ensemble")
_SIGNALS_KEPT = (REVIEWED, LOGPROB, AGREEMENT, STATED, RULES, POOL, WEAK, NEIGHBORS)
"""By the numbers that stages and signals are kept by; new ones come last, up to 64 stages and 12 signals."""
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_CERTAIN = log(1e6)
_STEPS = len(_DIGITS) ** 2 - 2
"""An even number, so that 0.5 is one of them."""


@dataclass(frozen=True, slots=True)
class Grounds:
    """Which stage gave a control its labels, and what speaks for them."""

    stage: str
    """One of ``STAGES``."""
    signals: Signals = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A task that a person labelled blind: what spoke for the label it would have got, and whether that was right.

    For a multiple choice right is the exact set.
    """

    signals: Signals
    right: bool


def given(signals: Signals, name: str) -> float | None:
    """The signal, from 0 to 1; None if it is missing or no number."""
    value = signals.get(name)
    return min(1.0, max(0.0, value)) if value is not None and isfinite(value) else None


def written(grounds: Iterable[Grounds | None]) -> str:
    """Letters, digits, ``-`` and ``_``, which :func:`read_grounds` reads: three a control for its stage and for which
    signals there are, and two a signal; three for a control without grounds.
    """
    return "".join(_written(each) for each in grounds)


def read_grounds(text: str) -> list[Grounds | None]:
    """What was :func:`written`, a control each.

    :raises ValueError: it is nothing of the kind.
    """
    found, at = list[Grounds | None](), 0
    while at < len(text):
        stage, which = _number(text[at : at + 1]), _number(text[at + 1 : at + 3])
        names = [name for place, name in enumerate(_SIGNALS_KEPT) if which >> place & 1]
        start, at = at + 3, at + 3 + 2 * len(names)
        if stage >= len(_STAGES_KEPT) or which >> len(_SIGNALS_KEPT) or at > len(text) or (names and not stage):
            raise ValueError(f"no grounds: {text!r}")
        values = (_share(_number(text[place : place + 2])) for place in range(start, at, 2))
        found.append(Grounds(_STAGES_KEPT[stage], dict(zip(names, values, strict=True))) if stage else None)
    return found


def rounded(signals: Signals) -> dict[str, float]:
    """Those that can be given, as they come back from where they are kept: their logits in steps of 0.007, as far as a
    millionth from 0 and 1. Scores are made of such alone, so that the same signals always give the same score.
    """
    told = ((name, given(signals, name)) for name in SIGNALS)
    return {name: _share(_step(value)) for name, value in told if value is not None}


def best_single(signals: Signals, own: Sequence[str] = (), otherwise: float = NOTHING_SPEAKS_FOR_IT) -> float:
    """The signal to go by where there is no evidence: the first of ``own`` that there is, then of ``SIGNALS``."""
    found = (given(signals, name) for name in (*own, *SIGNALS))
    return next((value for value in found if value is not None), otherwise)


def _written(grounds: Grounds | None) -> str:
    if grounds is None:
        return _digits(0, 3)
    told = {name: value for name in _SIGNALS_KEPT if (value := given(grounds.signals, name)) is not None}
    which = sum(1 << place for place, name in enumerate(_SIGNALS_KEPT) if name in told)
    head = _digits(_STAGES_KEPT.index(grounds.stage), 1) + _digits(which, 2)
    return head + "".join(_digits(_step(value), 2) for value in told.values())


def _step(value: float) -> int:
    """The number of the logit, among those that are kept, that is nearest to that of a share from 0 to 1."""
    logit = log(value / (1 - value)) if 0 < value < 1 else (value - 0.5) * 4 * _CERTAIN
    return round((min(_CERTAIN, max(-_CERTAIN, logit)) / _CERTAIN + 1) / 2 * _STEPS)


def _share(step: int) -> float:
    return 1 / (1 + exp(-(2 * min(_STEPS, step) / _STEPS - 1) * _CERTAIN))


def _digits(number: int, count: int) -> str:
    return "".join(_DIGITS[number // len(_DIGITS) ** place % len(_DIGITS)] for place in reversed(range(count)))


def _number(digits: str) -> int:
    """:raises ValueError: there is none, or one of them is no digit."""
    if not digits:
        raise ValueError("a digit is missing")
    return reduce(lambda number, digit: number * len(_DIGITS) + _DIGITS.index(digit), digits, 0)
