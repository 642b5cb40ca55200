"""From a label's signals to the probability that it is right, learned from tasks that people labelled blind.

Logistic regression on the signals' logits, as Platt scaling does with one (Platt, "Probabilistic outputs for support
vector machines", 1999), so that a signal that keeps its word gets weight 1; with enough evidence a monotone curve on
top. Read ``signals`` first; ``logistic`` and ``monotone`` do the fitting, ``calibration`` has one for each stage.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Any

import numpy as np

from prelabel.core.signals import LOGPROB, SIGNALS, Evidence, Signals, given
from prelabel.quality.logistic import expit, fit_logistic
from prelabel.quality.monotone import Curve, fit_curve

VERSION = 1
"""Of the JSON; other versions are refused."""
MIN_EVIDENCE = 30
"""Tasks below which there is no calibrator: the share of 30 that is right is known to about 0.15 (95% interval at
0.8), and with fewer hardly better than without any."""
CURVE_EVIDENCE = 1000
"""Tasks from which on a curve is laid on top: with fewer, isotonic regression does worse than Platt scaling
(Niculescu-Mizil and Caruana, "Predicting good probabilities with supervised learning", 2005, section 5)."""
FOLDS = 10
"""Of cross-fitting, as Kohavi, "A study of cross-validation and bootstrap" (1995), recommends."""
FINEST = {LOGPROB: 1e-6}
COARSE = 0.005
"""How near to 0 or 1 a signal counts as: token probabilities come to many digits and differ there; the others are
shares of a few or stated in percent, and within half a percent of certainty say nothing more."""

LARGEST = 1e6
"""Number in JSON that is believed; fitted ones are far smaller, and sums of such stay finite."""


class UnknownCalibration(ValueError):
    """JSON that is not such as this version writes; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Term:
    """What a signal adds to the logit: its own logit times ``weight``, never negative, or ``absent``."""

    weight: float
    absent: float


@dataclass(frozen=True, slots=True)
class Calibrator:
    """Of one stage; made by :meth:`fit`. Monotone in each signal. Signals without a term change nothing."""

    evidence: int
    intercept: float
    terms: Mapping[str, Term]
    curve: Curve | None = None

    @classmethod
    def fit(cls, evidence: Sequence[Evidence]) -> "Calibrator | None":
        """None with fewer than :data:`MIN_EVIDENCE`. The same evidence gives the same to the last digit."""
        return fitted(evidence) if len(evidence) >= MIN_EVIDENCE else None

    def probability(self, signals: Signals) -> float:
        """That the label is right: finite, 0 to 1, whatever the signals are."""
        values = {name: given(signals, name) for name in self.terms}
        logit = self.intercept + sum(
            term.absent if (value := values[name]) is None else term.weight * _logit(name, value)
            for name, term in self.terms.items()
        )
        plain = expit(np.array([logit]))
        return float((self.curve.at(plain) if self.curve else plain)[0])

    def to_json(self) -> dict[str, Any]:
        """Numbers that :meth:`from_json` makes the same calibrator of."""
        return {
            "version": VERSION,
            "evidence": self.evidence,
            "intercept": self.intercept,
            "terms": {name: [term.weight, term.absent] for name, term in self.terms.items()},
            "curve": [list(self.curve.scores), list(self.curve.shares)] if self.curve else None,
        }

    @classmethod
    def from_json(cls, found: Any) -> "Calibrator":
        """:raises UnknownCalibration: it is nothing that :meth:`to_json` writes."""
        _require(isinstance(found, dict) and found.get("version") == VERSION, "version", found)
        _require(found.keys() == {"version", "evidence", "intercept", "terms", "curve"}, "fields", found)
        evidence, terms, curve = found["evidence"], found["terms"], found["curve"]
        _require(type(evidence) is int and evidence > 0, "evidence", evidence)
        _require(_is_number(found["intercept"]), "intercept", found["intercept"])
        _require(isinstance(terms, dict) and all(map(_is_term, terms.items())), "terms", terms)
        _require(curve is None or _is_curve(curve), "curve", curve)
        return cls(
            evidence,
            float(found["intercept"]),
            {name: Term(float(weight), float(absent)) for name, (weight, absent) in terms.items()},
            Curve(*(tuple(map(float, axis)) for axis in curve)) if curve else None,
        )


def fitted(evidence: Sequence[Evidence]) -> Calibrator:
    """A calibrator of any evidence, however little: of none, one that always says 0.5."""
    plain = _plain(evidence)
    if len(evidence) < CURVE_EVIDENCE:
        return plain
    scores = cross_fitted(evidence, _plain)
    return replace(plain, curve=fit_curve(scores, [item.right for item in evidence]))


def cross_fitted(evidence: Sequence[Evidence], fit: Callable[[Sequence[Evidence]], Calibrator] = fitted) -> list[float]:
    """For each its probability by a calibrator that has seen only the other :func:`folds`: honest figures."""
    scores = [0.0] * len(evidence)
    for held_out in folds([item.right for item in evidence]):
        away = set(held_out)
        calibrator = fit([item for place, item in enumerate(evidence) if place not in away])
        for place in held_out:
            scores[place] = calibrator.probability(evidence[place].signals)
    return scores


def folds(right: Sequence[bool], count: int = FOLDS) -> list[list[int]]:
    """The places of all, in at most ``count`` parts with about the same share of right ones; drawn by no chance."""
    in_turn = sorted(range(len(right)), key=right.__getitem__)
    return [part for start in range(count) if (part := sorted(in_turn[start::count]))]


def _plain(evidence: Sequence[Evidence]) -> Calibrator:
    """One without a curve. A missing signal counts as the mean of the others, and that it is missing as a feature."""
    if not evidence:
        return Calibrator(0, 0.0, {})
    logits = {name: np.array([_logit_or_nan(name, item.signals) for item in evidence]) for name in SIGNALS}
    logits = {name: column for name, column in logits.items() if not np.isnan(column).all()}
    means = {name: float(np.nanmean(column)) for name, column in logits.items()}
    missing = {name: flags for name, column in logits.items() if (flags := np.isnan(column)).any()}
    columns = [np.where(np.isnan(column), means[name], column) for name, column in logits.items()]
    rows = np.array([*columns, *missing.values()], dtype=np.float64)
    features = rows.reshape(len(columns) + len(missing), len(evidence)).T
    right = np.array([item.right for item in evidence], dtype=bool)
    found = fit_logistic(features, right, np.arange(features.shape[1]) < len(columns))
    weights = dict(zip(logits, found.weights, strict=False))
    shifts = dict(zip(missing, found.weights[len(columns) :], strict=True))
    terms = {name: Term(weights[name], weights[name] * means[name] + shifts.get(name, 0.0)) for name in logits}
    return Calibrator(len(evidence), found.intercept, terms)


def _logit_or_nan(name: str, signals: Signals) -> float:
    value = given(signals, name)
    return np.nan if value is None else _logit(name, value)


def _logit(name: str, value: float) -> float:
    finest = FINEST.get(name, COARSE)
    inside = min(1.0 - finest, max(finest, value))
    return log(inside / (1.0 - inside))


def _require(is_met: bool, what: str, found: Any) -> None:
    if not is_met:
        raise UnknownCalibration(f"a calibrator's {what}: {found!r}")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= LARGEST


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


def _is_term(item: tuple[str, Any]) -> bool:
    name, numbers = item
    return name in SIGNALS and _is_numbers(numbers) and len(numbers) == 2 and numbers[0] >= 0


def _is_curve(value: Any) -> bool:
    """Whether it is two axes of the same length, each rising, the scores between 0 and 1, the shares from 0 to 1."""
    if not isinstance(value, list) or len(value) != 2 or not all(map(_is_numbers, value)):
        return False
    scores, shares = value
    rises = all(axis[place] < axis[place + 1] for axis in value for place in range(len(axis) - 1))
    inside = all(0 < score < 1 for score in scores) and all(0 <= share <= 1 for share in shares)
    return len(scores) == len(shares) and rises and inside
