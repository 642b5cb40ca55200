"""Labeling functions: rules that vote for labels of a control, and what comes of their votes on a ticket.

A rule that does not fire abstains. Of the rules that fire for a control, those of the highest priority count. For a
single choice they must agree; where they do not, they are in conflict and nothing is said. For a multiple choice what
they name is put together. Ratner et al., "Data Programming: Creating Large Training Sets, Quickly" (2016), section 3,
for the idea.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prelabel.core.conditions import Condition, Reading
from prelabel.core.match import named_label
from prelabel.core.types import Choices, Ticket


@dataclass(frozen=True, slots=True)
class Rule:
    """Labels, and when a ticket has them."""

    name: str
    """Unique in its file."""
    labels: tuple[str, ...]
    """As they are written; never empty."""
    condition: Condition
    control: str = ""
    """Empty for the only one that a label config has."""
    priority: int = 0
    line: int = 0
    """Where it stands in its file."""

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with what the rule says, not with its name or place.

        What was found out of a rule, such as its precision, is true of the rule with this fingerprint.
        """
        says = self.control, self.labels, self.priority, self.condition
        return hashlib.sha256(repr(says).encode("utf-8", "surrogatepass")).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class FittedRule:
    """A rule of a project: its control and labels are ones of the label config."""

    rule: Rule
    control: str
    labels: tuple[str, ...]
    """Label values, in the config's order."""

    @property
    def name(self) -> str:
        return self.rule.name


@dataclass(frozen=True, slots=True)
class Vote:
    """What the rules say of one control of a ticket."""

    labels: tuple[str, ...]
    """In the config's order; none where the rules are in conflict."""
    rules: tuple[FittedRule, ...]
    """Those that count, in the file's order; never empty."""
    overruled: tuple[FittedRule, ...] = ()
    """Those that fire too and have a lower priority."""

    @property
    def is_conflict(self) -> bool:
        return not self.labels

    def only(self, question: Choices, counts: Callable[[FittedRule], bool]) -> "Vote | None":
        """What is said by those that count, such as the proven ones, as if there were no others; None if that is none.

        :param question: the control that the vote is about.
        """
        firing = [rule for rule in (*self.rules, *self.overruled) if counts(rule)]
        return _settle(question, firing) if firing else None


Votes = Mapping[str, Vote]
"""By control; without those for which no rule fires."""


class Rules:
    """The rules of a project."""

    def __init__(self, questions: Sequence[Choices], rules: Sequence[FittedRule]) -> None:
        self._questions = tuple(questions)
        self._rules = tuple(rules)

    def __iter__(self) -> Iterator[FittedRule]:
        return iter(self._rules)

    def only(self, names: Collection[str]) -> "Rules":
        """Those of ``names``, such as the proven ones, as if there were no others."""
        return Rules(self._questions, [rule for rule in self._rules if rule.name in names])

    def vote(self, ticket: Ticket) -> Votes:
        """What they say of ``ticket``."""
        reading = Reading(ticket)
        firing: dict[str, list[FittedRule]] = {}
        for rule in self._rules:
            if rule.rule.condition.holds(reading):
                firing.setdefault(rule.control, []).append(rule)
        return {each.name: _settle(each, firing[each.name]) for each in self._questions if each.name in firing}


def fit_rules(rules: Sequence[Rule], questions: Sequence[Choices]) -> tuple[Rules, tuple[str, ...]]:
    """The rules that are for a project of these controls; and of each other one, why it is not.

    Rules of other projects may stand in the same file, so that such a one is no mistake by itself.
    """
    fitted, problems = [], []
    for rule in rules:
        found = _fit(rule, questions)
        if isinstance(found, FittedRule):
            fitted.append(found)
        else:
            problems.append(f"line {rule.line}: {rule.name!r} {found}")
    return Rules(questions, fitted), tuple(problems)


def _fit(rule: Rule, questions: Sequence[Choices]) -> FittedRule | str:
    named = [question for question in questions if not rule.control or question.name == rule.control]
    names = ", ".join(question.name for question in questions)
    if not named:
        return f"is for the control {rule.control!r}; there are {names or 'none'}"
    if len(named) > 1:
        return f"must say for which control it is: {names}"
    question = named[0]
    found = {written: named_label(written, question) for written in rule.labels}
    if unknown := [written for written, label in found.items() if label is None]:
        return f"has the label {unknown[0]!r}, which {question.name!r} does not offer"
    values = {label.value for label in found.values() if label}
    if len(values) > 1 and not question.multiple:
        return f"has {len(values)} labels, and {question.name!r} takes one"
    return FittedRule(rule, question.name, _in_order(values, question))


def _settle(question: Choices, firing: Sequence[FittedRule]) -> Vote:
    highest = max(rule.rule.priority for rule in firing)
    counting = tuple(rule for rule in firing if rule.rule.priority == highest)
    values = {value for rule in counting for value in rule.labels}
    labels = _in_order(values, question) if question.multiple or len(values) == 1 else ()
    return Vote(labels, counting, tuple(rule for rule in firing if rule.rule.priority < highest))


def _in_order(values: Collection[str], question: Choices) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label.value for label in question.labels if label.value in values))
