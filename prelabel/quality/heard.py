"""All that is said of one control of a ticket, by whom, and what speaks for any labels of it.

Those who speak have not seen what a person chose for the ticket itself, but for the weak model where a task that people
have labelled is predicted once more. ``deciding`` makes one decision of it all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from prelabel.core.rules import Vote as RulesVote
from prelabel.core.signals import NEIGHBORS, REVIEWED, RULES, WEAK, Grounds, Signals, given, rounded
from prelabel.core.types import Choices
from prelabel.quality.fusion import Ballot, Vote
from prelabel.quality.neighbors import Neighbor, agreement, votes
from prelabel.quality.rule_record import RuleRecord
from prelabel.quality.weak_model import Guess


@dataclass(frozen=True, slots=True)
class Precedent:
    """The very same text in other tasks, to which people gave the same labels throughout."""

    labels: tuple[str, ...]
    count: int
    """Of these tasks, at least 1."""


@dataclass(frozen=True, slots=True)
class Heard:
    """About one control; None from whom nothing was heard."""

    reviewed: Precedent | None = None
    rules: RulesVote | None = None
    """Of all rules."""
    weak: Guess | None = None
    near: Sequence[Neighbor] = ()
    """The nearest reviewed tickets."""
    llm: Vote | None = None
    """Its labels and its own signals. Labels that are no answer to the question, such as none to a single choice, are
    an abstention, too."""
    escalation: Vote | None = None
    """The same of the stronger model."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Labels, in the config's order, by whom, and what speaks for them."""

    labels: tuple[str, ...]
    grounds: Grounds


def fitting_labels(question: Choices, labels: Sequence[str]) -> tuple[str, ...] | None:
    """``labels`` in the config's order; None if they are no answer to the question."""
    offered, chosen = dict.fromkeys(label.value for label in question.labels), set(labels)
    is_fitting = len(chosen) == 1 or (question.multiple and (bool(chosen) or not question.required))
    return tuple(filter(chosen.__contains__, offered)) if is_fitting and chosen <= offered.keys() else None


def answer(question: Choices, heard: Heard, record: RuleRecord, stage: str, vote: Vote) -> Answer | None:
    """What ``stage`` says by ``vote``, with what the others have to say of these labels; None if it abstains."""
    labels = _voted(question, vote)
    if labels is None:
        return None
    told = {**_of_others(question, heard, record, labels), **vote.signals}
    return Answer(labels, Grounds(stage, rounded(told)))


def reviewed_vote(heard: Heard) -> Vote | None:
    """Of people, on the same text."""
    if heard.reviewed is None:
        return None
    count = heard.reviewed.count
    return Vote(heard.reviewed.labels, {REVIEWED: (count + 0.5) / (count + 1)})


def rules_vote(rules: RulesVote | None, record: RuleRecord) -> Vote | None:
    """Of the rules, unless they are in conflict."""
    if rules is None or rules.is_conflict:
        return None
    precision = record.precision(rules)
    return Vote(rules.labels, {} if precision is None else {RULES: precision})


def weak_vote(question: Choices, heard: Heard) -> Vote | None:
    """Of the weak model."""
    if heard.weak is None:
        return None
    told = heard.weak.probabilities
    return Vote(heard.weak.labels, {WEAK: _exactly(question, told, heard.weak.labels)}, told)


def neighbors_vote(question: Choices, heard: Heard) -> Vote | None:
    """Of the nearest reviewed tickets; that no label fits only if one of them got that answer."""
    if not heard.near:
        return None
    shares = votes(heard.near, [label.value for label in question.labels])
    may_be_empty = question.multiple and not all(chosen for chosen, _ in heard.near)
    labels = tuple(label for label, share in shares.items() if share > 0.5) if question.multiple else ()
    if not labels and not may_be_empty:
        labels = (max(shares, key=shares.__getitem__),)
    return Vote(labels, {NEIGHBORS: _exactly(question, shares, labels)}, shares)


def ballot(question: Choices, heard: Heard, record: RuleRecord) -> Ballot:
    """What the ensemble fuses: the votes of all methods that have an answer."""
    found = {
        "rules": rules_vote(heard.rules, record),
        "weak_model": weak_vote(question, heard),
        "neighbors": neighbors_vote(question, heard),
        "llm": heard.llm,
    }
    given_votes = ((method, vote, _voted(question, vote)) for method, vote in found.items() if vote)
    return {
        method: Vote(labels, rounded(vote.signals), _sound(vote.probabilities))
        for method, vote, labels in given_votes
        if labels is not None
    }


def _voted(question: Choices, vote: Vote) -> tuple[str, ...] | None:
    """As :func:`fitting_labels`; None where it abstains."""
    return None if vote.abstains else fitting_labels(question, vote.labels)


def _of_others(question: Choices, heard: Heard, record: RuleRecord, labels: tuple[str, ...]) -> Signals:
    """What the weak model, the nearest reviewed tickets and the rules have to say of exactly these labels."""
    rules = rules_vote(heard.rules, record)
    told = {
        WEAK: _exactly(question, heard.weak.probabilities, labels) if heard.weak else None,
        NEIGHBORS: agreement(heard.near, labels),
        RULES: rules.signals.get(RULES) if rules and set(rules.labels) == set(labels) else None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _exactly(question: Choices, told: Mapping[str, float], labels: Sequence[str]) -> float:
    """The probability of these labels and no others; a label of which nothing is told has none."""
    if not question.multiple:
        return told.get(labels[0], 0.0) if labels else 0.0
    offered = dict.fromkeys(label.value for label in question.labels)
    return prod(told.get(label, 0.0) if label in labels else 1 - told.get(label, 0.0) for label in offered)


def _sound(told: Mapping[str, float]) -> dict[str, float]:
    return {label: value for label in told if (value := given(told, label)) is not None}
