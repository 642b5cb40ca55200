"""What is heard of tickets to outcomes: a decision for each control, and one score for the ticket.

Some tickets are settled by what is known of them already, others when an LLM is heard, or a second one. Who is heard,
and whose word is the last, is decided in ``quality.deciding``; ``labeling`` sees to it that they are asked.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from prelabel.config import Method
from prelabel.core.parse import NO_LABEL_FITS
from prelabel.core.signals import STAGES, Grounds
from prelabel.core.types import Abstained, Choices, Failed, Labeled, Outcome, Usage
from prelabel.quality.deciding import Verdict, decide
from prelabel.quality.fusion import ABSTENTION, Vote
from prelabel.quality.heard import Heard
from prelabel.quality.scoring import Scoring, together

Asked = Literal["llm", "escalation"]
"""Who has to be asked: the LLM, and a stronger one about what it is not sure of."""
NO_RULE = "no rule gives it a label, or those that do are in conflict"
NOTHING_HEARD = "nothing is known that gives it a label"
ORDER = tuple(STAGES)


@dataclass(slots=True)
class _Case:
    """A ticket, and how it stands."""

    heard: dict[str, Heard]
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    comment: str = ""
    reason: str = ""
    """Why it got no label, where the last to be asked said so."""

    def take(self, asked: Asked, answer: Outcome, questions: Sequence[Choices]) -> None:
        """Somebody has answered."""
        for question in questions:
            vote, heard = vote_of(answer, question.name), self.heard[question.name]
            self.heard[question.name] = replace(heard, llm=vote) if asked == "llm" else replace(heard, escalation=vote)
        if isinstance(answer, Labeled | Abstained):
            self.comment = answer.comment or self.comment
            self.reason = answer.reason if isinstance(answer, Abstained) else ""


class Judge:
    """Of some tickets, by their places.

    :param heard: of each ticket by control, what is known before anybody is asked.
    :param asked: who can be asked.
    :param lack: what becomes of tickets that are not decided, where that is for want of somebody who would.
    :param is_patient: a ticket that is not reached in time is asked about another time; else the first answer stands
        where the second is what is missing.
    :param usage: who settled how many is added to it.
    """

    def __init__(
        self,
        questions: Sequence[Choices],
        scoring: Scoring,
        method: Method,
        heard: Sequence[Mapping[str, Heard]],
        *,
        asked: Sequence[Asked],
        lack: Failed | None = None,
        is_patient: bool = False,
        usage: Usage,
    ) -> None:
        self._questions = questions
        self._scoring = scoring
        self._method = method
        self._asked = asked
        self._lack = lack
        self._is_patient = is_patient
        self._usage = usage
        self._cases = [_Case({**each}) for each in heard]
        self._waiting: dict[int, Asked] = {}
        self.outcomes: dict[int, Outcome] = {}
        """Of those that are settled."""

    def begin(self) -> dict[int, Outcome]:
        """The outcomes of those that are settled by what is known of them."""
        return self._settle(range(len(self._cases)))

    def waiting(self, asked: Asked) -> list[int]:
        """Those that are to be asked about."""
        return [place for place, who in self._waiting.items() if who == asked]

    def hear(self, asked: Asked, answers: Mapping[int, Outcome]) -> dict[int, Outcome]:
        """The outcomes of those that are settled by what was answered; of what was settled before, nothing."""
        fresh = {place: answer for place, answer in answers.items() if self._waiting.get(place) == asked}
        settled: dict[int, Outcome] = {}
        for place, answer in fresh.items():
            del self._waiting[place]
            if not isinstance(answer, Failed):
                self._cases[place].take(asked, answer, self._questions)
            elif asked == "llm" or (answer.is_late and self._is_patient):
                settled[place] = self.outcomes[place] = answer
        return settled | self._settle([place for place in fresh if place not in settled], after=asked)

    def _settle(self, places: Iterable[int], after: Asked | None = None) -> dict[int, Outcome]:
        """The outcomes of those that need not be asked about, or not any more.

        :param after: who was asked last: without the second's word the first's stands.
        """
        settled: dict[int, Outcome] = {}
        for place in places:
            case = self._cases[place]
            case.verdicts = {
                question.name: decide(question, case.heard[question.name], self._scoring, self._method)
                for question in self._questions
            }
            wanted = {verdict.wants for verdict in case.verdicts.values()}
            who = next((each for each in self._asked if each in wanted and each != after), None)
            if who:
                self._waiting[place] = who
            else:
                settled[place] = self.outcomes[place] = self._outcome(case)
        return settled

    def _outcome(self, case: _Case) -> Outcome:
        decided = {name: verdict.decision for name, verdict in case.verdicts.items() if verdict.decision}
        if not decided and self._lack:
            return self._lack
        if not decided:
            return Abstained(case.reason or (NO_RULE if self._method == "rules" else NOTHING_HEARD), case.comment)
        grounds = {name: decision.grounds for name, decision in decided.items()}
        self._usage.settle(last_stage(grounds))
        score = together([decision.score for decision in decided.values()])
        labels = {name: decision.labels for name, decision in decided.items()}
        return Labeled(labels, score.value, case.comment, grounds)


def vote_of(answer: Outcome, control: str) -> Vote:
    """What somebody who was asked says of a control; that no label fits may be an answer, a refusal never is."""
    if isinstance(answer, Labeled) and control in answer.labels:
        grounds = answer.grounds.get(control)
        return Vote(answer.labels[control], grounds.signals if grounds else {})
    says_none = isinstance(answer, Abstained) and answer.reason == NO_LABEL_FITS
    return Vote((), {}) if says_none else ABSTENTION


def last_stage(grounds: Mapping[str, Grounds]) -> str:
    """The last stage that a ticket with these grounds, by control, has come to; it counts as settled by that."""
    return max((each.stage for each in grounds.values()), key=ORDER.index)
