"""What the tests of deciding have in common: questions, and those who say something of a ticket."""

from collections.abc import Sequence
from random import Random

from prelabel.config import Method
from prelabel.core.conditions import Words
from prelabel.core.rules import FittedRule, Rule, fit_rules
from prelabel.core.rules import Vote as RulesVote
from prelabel.core.signals import Evidence
from prelabel.core.types import Choices, Label, Ticket
from prelabel.quality.deciding import decide
from prelabel.quality.fitting import EvidenceCase
from prelabel.quality.fusion import Vote
from prelabel.quality.heard import Heard
from prelabel.quality.scoring import Scoring
from prelabel.quality.weak_model import Guess

LABELS = ("a", "b", "c")


def question(name: str = "q", *, multiple: bool = False, required: bool = False) -> Choices:
    return Choices(name, "text", tuple(Label(label, label) for label in LABELS), multiple=multiple, required=required)


SINGLE, MULTIPLE = question(), question(multiple=True)


def said(*labels: str, **signals: float) -> Vote:
    return Vote(labels, signals)


def weak(**probabilities: float) -> Guess:
    """Of a single choice."""
    best = max(probabilities, key=probabilities.__getitem__)
    return Guess((best,), probabilities[best], probabilities)


def voting(*rules: Rule, asked: Choices = SINGLE) -> RulesVote:
    """What rules say that all fire."""
    found, problems = fit_rules(rules, [asked])
    assert problems == ()
    return found.vote(Ticket(1, "word"))[asked.name]


def rule(name: str, *labels: str, priority: int = 0) -> Rule:
    """One that fires; no two of a name say the same."""
    return Rule(name, labels, Words(("word", name)), priority=priority)


def fitted(made: Rule, asked: Choices = SINGLE) -> FittedRule:
    [only] = fit_rules([made], [asked])[0]
    return only


def case(number: int, heard: Heard, *labels: str) -> EvidenceCase:
    return EvidenceCase(number, {"q": heard}, {"q": labels})


def evidence(count: int, seed: int = 0, *, with_escalation: bool = False) -> list[EvidenceCase]:
    """The weak model, the LLM and the stronger one are right as often as they say, each by itself.

    The weak model says 0.4 to 1, the LLM 0.5 to 1, the stronger one 0.9.
    """
    random, cases = Random(seed), []
    for number in range(count):
        truth = random.choice(LABELS)
        guessed, told = random.uniform(0.4, 1), random.uniform(0.5, 1)
        by_weak, by_llm, by_escalation = (
            truth if random.random() < share else random.choice([label for label in LABELS if label != truth])
            for share in (guessed, told, 0.9)
        )
        probabilities = {label: guessed if label == by_weak else (1 - guessed) / 2 for label in LABELS}
        heard = Heard(
            weak=weak(**probabilities),
            near=(((by_weak,), 0.5),),
            llm=said(by_llm, logprob=told),
            escalation=said(by_escalation, stated=0.9) if with_escalation else None,
        )
        cases.append(case(number, heard, truth))
    return cases


def as_evidence(cases: Sequence[EvidenceCase], stage: Method) -> list[Evidence]:
    """What speaks for the answers of a method of one stage."""
    found = []
    for each in cases:
        decision = decide(SINGLE, each.heard["q"], Scoring(), stage).decision
        assert decision is not None
        found.append(Evidence(decision.grounds.signals, decision.labels == each.labels["q"]))
    return found
