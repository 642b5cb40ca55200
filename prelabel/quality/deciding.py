"""From all that is heard of a control to one decision with its score, by each of the methods.

A method is the stages that a ticket goes through until one of them has the last word. ``auto`` is a cascade, from the
cheapest that can be relied upon to a person, as in Viola and Jones, "Rapid object detection using a boosted cascade of
simple features" (2001), and for LLMs in Chen et al., "FrugalGPT" (2023). Read ``heard`` first; ``fitting`` sends
evidence the same way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prelabel.config import Method
from prelabel.core.signals import Grounds, Signals, rounded
from prelabel.core.types import Choices
from prelabel.quality.calibration import Score
from prelabel.quality.fusion import Vote
from prelabel.quality.heard import Answer, Heard, answer, ballot, reviewed_vote, rules_vote, weak_vote
from prelabel.quality.rule_record import RuleRecord
from prelabel.quality.scoring import Learned, Scoring

SURE = 0.95
"""The calibrated score from which on the weak model has the last word."""
UNSURE = 0.8
"""The score below which the LLM has not, and the stronger model is asked."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A control's labels in the config's order, what speaks for them, and how much that is."""

    labels: tuple[str, ...]
    grounds: Grounds
    score: Score


@dataclass(frozen=True, slots=True)
class Verdict:
    """What comes of all that was heard so far."""

    decision: Decision | None
    """None: a person has to say."""
    wants: str | None = None
    """Who is to be heard next, ``llm`` or ``escalation``; where there is no such, the decision stands as it is."""


Scorer = Callable[[str, Signals], Score]
"""From a stage and what speaks for its labels to their score."""


@dataclass(frozen=True, slots=True)
class Step:
    """A stage as a method goes through it."""

    stage: str
    vote: Callable[[Choices, Heard, RuleRecord], Vote | None]
    """None: nothing was heard of it. Labels that are no answer to the question: it abstains."""
    has_last_word: Callable[[Score], bool] = lambda _: True
    is_asked: bool = False
    """Whether somebody has to be asked for it; the others are heard before."""


_LLM = Step("llm", lambda _, heard, __: heard.llm, is_asked=True)
_WEAK_MODEL = Step("weak_model", lambda question, heard, _: weak_vote(question, heard))
_RULES = Step("rules", lambda _, heard, record: rules_vote(heard.rules, record))

STEPS: Mapping[Method, Sequence[Step]] = {
    "llm": (_LLM,),
    "weak_model": (_WEAK_MODEL,),
    "rules": (_RULES,),
    "auto": (
        Step("reviewed", lambda _, heard, __: reviewed_vote(heard)),
        Step("rules", lambda question, heard, record: rules_vote(record.proven_vote(question, heard.rules), record)),
        Step("weak_model", _WEAK_MODEL.vote, lambda score: score.is_calibrated and score.value >= SURE),
        Step("llm", _LLM.vote, lambda score: score.value >= UNSURE, is_asked=True),
        Step("escalation", lambda _, heard, __: heard.escalation, is_asked=True),
    ),
}
"""All methods but ``ensemble``, which hears everybody at once."""


def decide(question: Choices, heard: Heard, scoring: Scoring, method: Method) -> Verdict:
    """What comes of ``heard`` by ``method``. The same always gives the same, to the last digit.

    People, rules, the weak model and the nearest reviewed tickets are heard beforehand, the LLM and the stronger model
    when a verdict wants them. A verdict that wants nobody stays what it is, whoever is heard after it.
    """
    learned = scoring.of(question.name)
    if method == "ensemble":
        return _fuse(question, heard, learned)
    return go_through(STEPS[method], question, heard, learned.rules, learned.calibration.score)


def go_through(steps: Sequence[Step], question: Choices, heard: Heard, record: RuleRecord, score: Scorer) -> Verdict:
    """The verdict of the first step that has the last word, else of the last that was heard."""
    verdict = Verdict(None)
    for step in steps:
        vote = step.vote(question, heard, record)
        if vote is None and step.is_asked:
            return Verdict(verdict.decision, wants=step.stage)
        if vote is not None:
            found = answer(question, heard, record, step.stage, vote)
            verdict = Verdict(_scored(found, score) if found else None)
            if verdict.decision and step.has_last_word(verdict.decision.score):
                break
    return verdict


def _scored(answer: Answer, score: Scorer) -> Decision:
    return Decision(answer.labels, answer.grounds, score(answer.grounds.stage, answer.grounds.signals))


def _fuse(question: Choices, heard: Heard, learned: Learned) -> Verdict:
    wants = "llm" if heard.llm is None else None
    fused = learned.ensemble.fuse(question, ballot(question, heard, learned.rules))
    if fused is None:
        return Verdict(None, wants)
    found = Answer(fused.labels, Grounds("ensemble", rounded(fused.signals)))
    return Verdict(_scored(found, learned.calibration.score), wants)
