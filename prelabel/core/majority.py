"""Several answers to the same ticket to one: for each control the labels that were given most often.

Of answers drawn at random, the share that agrees says how sure the LLM is (Wang et al., "Self-consistency improves
chain of thought reasoning in language models", 2023, section 3.5).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain
from statistics import fmean

from prelabel.core.parse import NO_LABEL_FITS, Answer
from prelabel.core.signals import AGREEMENT, Grounds, rounded
from prelabel.core.types import Abstained, Labeled


def majority(answers: Sequence[Answer], asked: int) -> Answer:
    """One answer, with what speaks for each control's labels.

    A control gets the labels that most answers gave it; of those given equally often the ones with the highest mean
    score, then the first. It gets none, and a ticket without any abstains, where more than half of the answers gave it
    none. ``AGREEMENT`` is the share of all answers that gave exactly these labels, every other signal its mean over
    those that did, and the score theirs for the control that it is lowest for.

    :param answers: at least one, as ``parse`` reads them.
    :param asked: how many there were to be. Where no more than half of them came, there is no ``AGREEMENT``: a lone
        answer always agrees with itself.
    """
    labeled = [answer for answer in answers if isinstance(answer, Labeled)]
    winners: dict[str, list[Labeled]] = {}
    for control in dict.fromkeys(chain.from_iterable(answer.labels for answer in labeled)):
        votes = _votes(labeled, control)
        if 2 * sum(map(len, votes)) >= len(answers):
            winners[control] = max(votes, key=lambda voters: (len(voters), _score(voters)))
    if not winners:
        return _abstention(answers)
    labels = {control: voters[0].labels[control] for control, voters in winners.items()}
    closest = max(labeled, key=lambda answer: sum(answer.labels.get(name) == labels[name] for name in labels))
    share = {control: len(voters) / len(answers) for control, voters in winners.items() if 2 * len(answers) > asked}
    grounds = {control: _grounds(voters, control, share.get(control)) for control, voters in winners.items()}
    return Labeled(labels, min(map(_score, winners.values())), closest.comment, grounds)


def _votes(labeled: Sequence[Labeled], control: str) -> list[list[Labeled]]:
    """Those that gave ``control`` the same labels together, in the order of the first of each."""
    votes: dict[tuple[str, ...], list[Labeled]] = defaultdict(list)
    for answer in labeled:
        if control in answer.labels:
            votes[answer.labels[control]].append(answer)
    return list(votes.values())


def _score(voters: Sequence[Labeled]) -> float:
    return fmean(answer.score for answer in voters)


def _grounds(voters: Sequence[Labeled], control: str, share: float | None) -> Grounds:
    """:param share: of all answers; None where it says nothing."""
    told: dict[str, list[float]] = defaultdict(list)
    for answer in voters:
        for name, value in answer.grounds[control].signals.items():
            told[name].append(value)
    signals = {name: fmean(values) for name, values in told.items()}
    return Grounds(voters[0].grounds[control].stage, rounded(signals | ({} if share is None else {AGREEMENT: share})))


def _abstention(answers: Sequence[Answer]) -> Abstained:
    """For the reason that was given most often."""
    abstained = [answer for answer in answers if isinstance(answer, Abstained)]
    reasons = Counter(answer.reason for answer in abstained).most_common(1)
    return next((answer for answer in abstained if answer.reason == reasons[0][0]), Abstained(NO_LABEL_FITS))
