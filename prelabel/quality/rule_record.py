"""What evidence has shown of rules: how precise those are that give a label, and which are proven.

A rule goes by its fingerprint, so that one that is edited has nothing to show for itself. ``rule_figures`` tells people
more of the same; a task counts for a rule that fires for it, whether or not another has a higher priority.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from prelabel.core.rules import FittedRule, Vote
from prelabel.core.types import Choices
from prelabel.quality.intervals import Tally
from prelabel.quality.rule_figures import is_right

PROVEN = 0.9
"""Precision that a rule has at least, 95% sure, when it settles tickets by itself: 36 right of 36 show it. Of a
multiple choice what settles a ticket is the whole set, so there it is how often a rule's labels are exactly that."""


@dataclass(frozen=True, slots=True)
class RuleRecord:
    """Of one control's rules; made by :meth:`of` or :meth:`count`."""

    tallies: Mapping[str, Tally] = field(default_factory=dict)
    """By fingerprint; of a rule that never fired there is none."""
    proven: frozenset[str] = frozenset()
    """Fingerprints of those of which people so often chose exactly the labels: of a multiple choice no more either."""

    @classmethod
    def of(cls, tallies: Mapping[str, Tally], exact: Mapping[str, Tally] | None = None) -> "RuleRecord":
        """:param exact: how often a rule's labels were all that people chose; without it as often as it was right."""
        proven = (rule for rule, tally in (tallies if exact is None else exact).items() if tally.interval[0] >= PROVEN)
        return cls(tallies, frozenset(proven))

    @classmethod
    def count(cls, judged: Iterable[tuple[Vote | None, tuple[str, ...]]]) -> "RuleRecord":
        """:param judged: of each task what the rules say, if anything, and the labels that a person chose."""
        right, exact = defaultdict[str, list[bool]](list), defaultdict[str, list[bool]](list)
        for vote, chosen in judged:
            for rule in _firing(vote):
                right[rule.rule.fingerprint].append(is_right(rule, chosen))
                exact[rule.rule.fingerprint].append(set(rule.labels) == set(chosen))
        return cls.of(_tallies(right), _tallies(exact))

    def without(self, vote: Vote | None, chosen: tuple[str, ...]) -> "RuleRecord":
        """The record as a task sees it that was counted in it: its rules' tallies without itself.

        Which rules are proven stays: it is asked for to learn what becomes of such tasks.
        """
        tallies = {
            rule.rule.fingerprint: Tally(tally.right - is_right(rule, chosen), tally.judged - 1)
            for rule in _firing(vote)
            if (tally := self.tallies.get(rule.rule.fingerprint))
        }
        return replace(self, tallies=tallies)

    def proven_vote(self, question: Choices, vote: Vote | None) -> Vote | None:
        """What the proven ones say, as if there were no others; None if none of them fires."""
        return vote.only(question, lambda rule: rule.rule.fingerprint in self.proven) if vote else None

    def precision(self, vote: Vote) -> float | None:
        """Of the rules that count, to be expected: of each label that of the best rule that has it, of several labels
        the lowest; None where nobody has judged a rule with one of them, or they are in conflict.
        """
        told = [self._of_label(label, vote) for label in vote.labels]
        known = [value for value in told if value is not None]
        return min(known) if known and len(known) == len(told) else None

    def _of_label(self, label: str, vote: Vote) -> float | None:
        tallies = [self.tallies.get(rule.rule.fingerprint) for rule in vote.rules if label in rule.labels]
        return max((tally.expected for tally in tallies if tally and tally.judged), default=None)


def _tallies(counted: Mapping[str, Sequence[bool]]) -> dict[str, Tally]:
    return {rule: Tally(sum(right), len(right)) for rule, right in sorted(counted.items())}


def _firing(vote: Vote | None) -> tuple[FittedRule, ...]:
    return (*vote.rules, *vote.overruled) if vote else ()
