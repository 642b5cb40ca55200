"""What several methods say of a ticket, fused into one answer and its probability.

Each method's vote gets the probability that its own signals are worth, by a calibrator of these votes alone; then the
methods' probabilities are pooled with weights learned from tasks that people labelled blind. Before there are enough,
a vote is worth its best single signal, and all sources weigh the same. The pooled probability is a signal in its turn
(``signals.POOL``), and with what else speaks for the answer ``calibration`` has the last word. Read ``pool`` next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from prelabel.core.signals import NEIGHBORS, POOL, WEAK, Evidence, Signals, best_single
from prelabel.core.types import Choices
from prelabel.quality.calibrator import LARGEST, MIN_EVIDENCE, Calibrator, UnknownCalibration, folds
from prelabel.quality.pool import fit_weights, opinions, pooled

VERSION = 1
"""Of the JSON; other versions are refused."""
SOURCES = {"rules": "rules", "weak_model": "reviews", "neighbors": "reviews", "llm": "llm"}
"""Methods, and where each has what it knows from."""
METHODS = tuple(SOURCES)
UNTOLD = 0.5
"""What a vote without any signal is worth before evidence: as likely right as not."""
TELLING = {"weak_model": WEAK, "neighbors": NEIGHBORS}
"""The methods that tell of every label how probable it is, and the signal which that is."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Vote:
    """What one method says of a ticket."""

    labels: tuple[str, ...]
    signals: Signals
    """Its own, none of another method's: those vote for themselves."""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    """Of as many labels as it tells; for a single choice what they lack to 1 goes to the others evenly."""
    abstains: bool = False
    """Whether it was heard and says nothing, whatever the question: no label is an answer to some of them."""


ABSTENTION = Vote((), {}, abstains=True)

Ballot = Mapping[str, Vote]
"""A ticket's votes by method; one that abstains has none."""


@dataclass(frozen=True, slots=True)
class Case:
    """A task labelled blind: its votes, made without it, and the labels it got."""

    ballot: Ballot
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fused:
    """The answer, and the pooled probability that it is right: for a multiple choice the exact set."""

    labels: tuple[str, ...]
    """In the config's order."""
    probability: float
    signals: Signals
    """What speaks for these labels, for the stage ``ensemble``: the pooled probability, what each method that tells
    probabilities tells of them, and the other signals of the methods that voted for them."""


@dataclass(frozen=True, slots=True)
class Ensemble:
    """For one question; made by :meth:`fit`. ``Ensemble()`` is what there is before evidence."""

    voices: Mapping[str, Calibrator] = field(default_factory=dict)
    """By method, what its votes are worth; one without has too little evidence."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """By method; empty: :func:`fair_weights` of those that vote."""

    @classmethod
    def fit(cls, question: Choices, cases: Sequence[Case]) -> "Ensemble":
        """The one before evidence of fewer than :data:`MIN_EVIDENCE`."""
        return _fit(question, cases) if len(cases) >= MIN_EVIDENCE else cls()

    def fuse(self, question: Choices, ballot: Ballot) -> Fused | None:
        """None without a vote for labels of the question."""
        rows = self.opinions(question, ballot)
        if not rows:
            return None
        known = [method for method in rows if method in self.weights]
        weights = [self.weights[method] for method in known] if known else fair_weights(list(rows))
        used = np.array([rows[method] for method in known or rows])
        labels, probability = _answer(question, pooled(used, np.array(weights), multiple=question.multiple))
        return Fused(labels, probability, _signals(question, ballot, labels) | {POOL: probability})

    def opinions(self, question: Choices, ballot: Ballot) -> dict[str, Floats]:
        """By method, what it adds to each label in the config's order; of those whose votes are for such labels."""
        offered = [label.value for label in question.labels]
        worth = {method: self._worth(method, vote) for method, vote in ballot.items() if _counts(question, vote)}
        return {
            method: opinions(_probabilities(question, offered, ballot[method], value), multiple=question.multiple)
            for method, value in worth.items()
        }

    def _worth(self, method: str, vote: Vote) -> float:
        voice = self.voices.get(method)
        return voice.probability(vote.signals) if voice else best_single(vote.signals, otherwise=UNTOLD)

    def to_json(self) -> dict[str, Any]:
        """Numbers that :meth:`from_json` makes the same ensemble of."""
        voices = {method: voice.to_json() for method, voice in self.voices.items()}
        return {"version": VERSION, "voices": voices, "weights": dict(self.weights)}

    @classmethod
    def from_json(cls, found: Any) -> "Ensemble":
        """:raises UnknownCalibration: it is nothing that :meth:`to_json` writes."""
        if not isinstance(found, dict) or found.get("version") != VERSION or len(found) != 3:
            raise UnknownCalibration(f"an ensemble's version: {found!r}")
        voices, weights = found.get("voices"), found.get("weights")
        if not isinstance(voices, dict) or not voices.keys() <= set(METHODS):
            raise UnknownCalibration(f"an ensemble's voices: {voices!r}")
        if not isinstance(weights, dict) or not all(map(_is_weight, weights.items())):
            raise UnknownCalibration(f"an ensemble's weights: {weights!r}")
        return cls(
            {method: Calibrator.from_json(voice) for method, voice in voices.items()},
            {method: float(weight) for method, weight in weights.items()},
        )


def fair_weights(methods: Sequence[str]) -> list[float]:
    """What each weighs where nothing is known: equal shares of 1 for each source, evenly for the methods that share it.

    So two that have learned from the same reviewed tickets do not outvote the LLM by saying the same twice.
    """
    sources = [SOURCES[method] for method in methods]
    return [1 / (len(set(sources)) * sources.count(source)) for source in sources]


def pool_evidence(question: Choices, cases: Sequence[Case]) -> list[Evidence]:
    """Evidence for the stage ``ensemble``: each case as an ensemble fuses it that was fitted to the others."""
    found: list[Evidence] = []
    for held_out in folds([False] * len(cases)):
        away = set(held_out)
        ensemble = Ensemble.fit(question, [case for place, case in enumerate(cases) if place not in away])
        fused = [(cases[place], ensemble.fuse(question, cases[place].ballot)) for place in held_out]
        found += [Evidence(answer.signals, set(answer.labels) == set(case.labels)) for case, answer in fused if answer]
    return found


def _fit(question: Choices, cases: Sequence[Case]) -> Ensemble:
    voices = {method: voice for method in METHODS if (voice := _voice(method, cases))}
    spoken = Ensemble(voices)
    rows = [spoken.opinions(question, case.ballot) for case in cases]
    methods = [method for method in METHODS if any(method in row for row in rows)]
    offered = [label.value for label in question.labels]
    truths = np.array([[label in case.labels for label in offered] for case in cases], dtype=bool)
    usable = truths.any(axis=1) | question.multiple
    if not methods or not usable.any():
        return spoken
    silent = np.zeros(len(offered))
    opinions_of_all = np.array([[row.get(method, silent) for method in methods] for row in rows])
    fair = np.array(fair_weights(methods))
    weights = fit_weights(opinions_of_all[usable], truths[usable], fair, multiple=question.multiple)
    return Ensemble(voices, dict(zip(methods, weights.tolist(), strict=True)))


def _voice(method: str, cases: Sequence[Case]) -> Calibrator | None:
    votes = [(vote, case.labels) for case in cases if (vote := case.ballot.get(method))]
    return Calibrator.fit([Evidence(vote.signals, set(vote.labels) == set(labels)) for vote, labels in votes])


def _counts(question: Choices, vote: Vote) -> bool:
    offered = {label.value for label in question.labels}
    return offered.issuperset(vote.labels) and (question.multiple or len(vote.labels) == 1)


def _probabilities(question: Choices, offered: Sequence[str], vote: Vote, worth: float) -> Floats:
    told = np.array([vote.probabilities.get(label, np.nan) for label in offered])
    chosen = np.array([label in vote.labels for label in offered])
    if question.multiple:  # the labels taken as independent and told equally well
        each = worth ** (1 / len(offered))
        return np.where(np.isnan(told), np.where(chosen, each, 1 - each), told)
    untold = np.isnan(told)
    rest = np.where(untold, max(0.0, 1.0 - float(np.nansum(told))) / max(1, int(untold.sum())), told)
    rest = np.where(chosen, 0.0, rest)
    rest = rest if rest.sum() > 0 else (~chosen).astype(np.float64)
    return np.where(chosen, worth, rest * (1 - worth) / max(1e-300, float(rest.sum())))


def _answer(question: Choices, probabilities: Floats) -> tuple[tuple[str, ...], float]:
    offered = [label.value for label in question.labels]
    best = int(np.argmax(probabilities))
    if not question.multiple:
        return (offered[best],), float(probabilities[best])
    chosen = probabilities > 0.5
    chosen[best] |= question.required
    probability = prod(np.where(chosen, probabilities, 1 - probabilities).tolist())
    return tuple(label for label, is_in in zip(offered, chosen, strict=True) if is_in), probability


def _signals(question: Choices, ballot: Ballot, labels: tuple[str, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for method, vote in ballot.items():
        told = _told(question, vote, labels)
        if set(vote.labels) == set(labels):
            found |= vote.signals
        elif method in TELLING and told is not None:
            found[TELLING[method]] = told
    return found


def _told(question: Choices, vote: Vote, labels: tuple[str, ...]) -> float | None:
    """The probability of exactly these labels; None where the vote does not tell of all that it takes."""
    if not question.multiple:
        return vote.probabilities.get(labels[0])
    told = {label.value: vote.probabilities.get(label.value) for label in question.labels}
    each = [value if label in labels else 1 - value for label, value in told.items() if value is not None]
    return prod(each) if len(each) == len(told) else None


def _is_weight(item: tuple[str, Any]) -> bool:
    method, weight = item
    return method in METHODS and type(weight) in (int, float) and 0 <= weight <= LARGEST
