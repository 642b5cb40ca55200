"""How good rules are, by tickets that people have labelled: coverage, conflicts and precision of each.

Which tickets are looked at is the caller's to choose: those reviewed without a suggestion tell the truth, any others
flatter rules that reviewers saw at work. A task counts once.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from prelabel.core.rules import FittedRule, Rules, Votes
from prelabel.core.types import Ticket
from prelabel.quality.intervals import clopper_pearson
from prelabel.quality.table import between, shortened, table

Reviewed = tuple[Ticket, Mapping[str, tuple[str, ...]]]
"""A ticket with the labels that people chose, by control; without a control that nobody has answered."""

_HEADER = ("rule", "label", "coverage", "conflicts", "right", "precision", "95% sure")
WIDEST = 30
"""Columns of a terminal that a rule's name may take, and its labels."""


@dataclass(slots=True)
class RuleFigures:
    """What a rule, or all rules of a control together, came to."""

    control: str
    name: str
    """Of the rule; empty for all of a control together."""
    labels: tuple[str, ...] = ()
    fingerprint: str = ""
    tickets: int = 0
    """Looked at, reviewed or not."""
    fired: int = 0
    """Those of them for which it fires; for all together, those that they give labels."""
    conflicts: int = 0
    """Those to which no labels are given, since another that fires and is as important says something else."""
    overruled: int = 0
    """Those for which it fires and one of a higher priority counts."""
    judged: int = 0
    """Those of ``fired`` that a person has labelled."""
    right: int = 0
    """Those of ``judged`` for which a person chose all labels of the rule; for all together, exactly theirs."""

    @property
    def coverage(self) -> float:
        """Share of the tickets, 0 to 1."""
        return self.fired / self.tickets if self.tickets else 0.0

    @property
    def precision(self) -> float | None:
        return self.right / self.judged if self.judged else None

    @property
    def interval(self) -> tuple[float, float]:
        """In which the precision is, 95% sure (Clopper-Pearson)."""
        return clopper_pearson(self.right, self.judged)

    def as_json(self) -> dict[str, Any]:
        low, high = self.interval
        told = {"coverage": self.coverage, "precision": self.precision, "precision_low": low, "precision_high": high}
        return {**asdict(self), **told}


@dataclass(frozen=True, slots=True)
class RulesReport:
    """The figures of each rule, in the file's order, and of all together for each control that has any."""

    tickets: int
    rules: tuple[RuleFigures, ...]
    controls: tuple[RuleFigures, ...]

    def as_json(self) -> dict[str, Any]:
        parts = {"rules": self.rules, "controls": self.controls}
        return {"tickets": self.tickets, **{name: [each.as_json() for each in part] for name, part in parts.items()}}

    def __str__(self) -> str:
        """A table, by control."""
        rows: list[tuple[str, ...]] = [_HEADER]
        for control in self.controls:
            rows += [_row(figures) for figures in self.rules if figures.control == control.control]
            rows.append(_row(control))
        return "\n".join((f"rules, on {self.tickets} tickets:", *table(rows)))


def measure_rules(rules: Rules, tickets: Iterable[Reviewed]) -> RulesReport:
    """The figures of ``rules`` by these tickets, each of which is looked at once."""
    each = {rule.name: RuleFigures(rule.control, rule.name, rule.labels, rule.rule.fingerprint) for rule in rules}
    together = {rule.control: RuleFigures(rule.control, "") for rule in rules}
    total = 0
    for ticket, chosen in tickets:
        total += 1
        votes = rules.vote(ticket)
        _count_rules(each, votes, chosen)
        _count_controls(together, votes, chosen)
    for figures in (*each.values(), *together.values()):
        figures.tickets = total
    return RulesReport(total, tuple(each.values()), tuple(together.values()))


def _count_rules(each: Mapping[str, RuleFigures], votes: Votes, chosen: Mapping[str, tuple[str, ...]]) -> None:
    for control, vote in votes.items():
        for rule in (*vote.rules, *vote.overruled):
            figures = each[rule.name]
            figures.fired += 1
            figures.conflicts += vote.is_conflict and rule in vote.rules
            figures.overruled += rule in vote.overruled
            if control in chosen:
                figures.judged += 1
                figures.right += is_right(rule, chosen[control])


def _count_controls(together: Mapping[str, RuleFigures], votes: Votes, chosen: Mapping[str, tuple[str, ...]]) -> None:
    for control, vote in votes.items():
        figures = together[control]
        figures.fired += not vote.is_conflict
        figures.conflicts += vote.is_conflict
        if control in chosen and not vote.is_conflict:
            figures.judged += 1
            figures.right += set(vote.labels) == set(chosen[control])


def is_right(rule: FittedRule, chosen: Collection[str]) -> bool:
    """Whether a person chose all labels of the rule."""
    return set(rule.labels) <= set(chosen)


def _row(figures: RuleFigures) -> tuple[str, ...]:
    return (
        shortened(figures.name or f"all of {figures.control}", WIDEST),
        shortened(", ".join(figures.labels), WIDEST),
        f"{figures.coverage:.1%}",
        str(figures.conflicts),
        f"{figures.right} of {figures.judged}",
        "unknown" if figures.precision is None else f"{figures.precision:.1%}",
        "" if figures.precision is None else between(figures.interval),
    )
