"""What is known of tickets before anybody is asked: what people say of the like, rules, and the weak model.

``judging`` decides by it what need not be asked, and ``labeling`` asks about the rest.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from prelabel.answering import in_chunks
from prelabel.core.rules import Votes
from prelabel.core.types import Choices, Failed, Ticket
from prelabel.guidance.rules import RuleSource
from prelabel.project import Project
from prelabel.quality.heard import Heard, Precedent
from prelabel.quality.surroundings import Around
from prelabel.quality.weak_model import EmbeddedModel
from prelabel.store.keys import ProjectRef

NOTHING_AROUND = Around((), (), {})
NOT_FITTED = "the embedded model was not fitted to the reviewed tickets in time"
FOR_EVER_S = 3600.0
"""Where nobody waits."""


class ReviewSource(Protocol):
    """Where reviewed tickets come from."""

    def around(
        self,
        ref: ProjectRef,
        questions: Sequence[Choices],
        tickets: Sequence[Ticket],
        count: int,
        *,
        is_evaluation: bool = False,
    ) -> list[Around]:
        """For each ticket at most ``count`` examples, its neighbours, and what its very text was labelled; never of the
        ticket's own task.

        :param is_evaluation: leave near copies of a ticket out; of one of them is no example of any.
        """

    def weak(
        self, ref: ProjectRef, questions: Sequence[Choices], *, patiently: bool, within_s: float = 0.0
    ) -> EmbeddedModel | None:
        """The weak model, fitted to reviewed tickets; None while it is being fitted for the first time.

        :param patiently: wait for the newest.
        :param within_s: else how long the first is waited for.
        """


@dataclass(frozen=True, slots=True)
class Hearing:
    """What is known of some tickets before anybody is asked."""

    around: Sequence[Around]
    heard: Sequence[Mapping[str, Heard]]
    """Of each by control."""
    lack: Failed | None = None
    """Why the weak model says nothing at all."""


class Hearings:
    """One a process, shared by its threads.

    :param rules: a process's own :class:`RuleSource` where it is not named.
    """

    def __init__(self, reviews: ReviewSource, rules: RuleSource | None = None) -> None:
        self._reviews = reviews
        self._rules = rules or RuleSource()

    def of(
        self, project: Project, tickets: Sequence[Ticket], ends: float, *, patiently: bool, is_last: bool = False
    ) -> Hearing:
        """
        :param ends: of the monotonic clock; reviews are looked up for at most a quarter of the time until then.
        :param patiently: wait until the weak model is fitted.
        :param is_last: nobody is asked after the weak model: its first one is waited for as long as there is time.
        :raises SettingsError: a file that the settings name cannot be used.
        """
        questions = project.config.questions
        around = self.around(project, tickets, ends)
        votes = self._rules.votes(project.settings, questions, tickets)
        within_s = max(0.0, ends - time.monotonic()) if is_last else 0.0
        weak = self._reviews.weak(project.ref, questions, patiently=patiently, within_s=within_s) if tickets else None
        guesses = weak.guess([ticket.text for ticket in tickets]) if weak else [{} for _ in tickets]
        heard = [_heard(project, *each) for each in zip(around, votes, guesses, strict=True)]
        return Hearing(around, heard, _lack(weak))

    def of_evidence(self, project: Project, tickets: Sequence[Ticket]) -> Hearing:
        """As if nobody had reviewed these tickets or near copies of them; without the weak model, which may have seen
        them.

        :raises SettingsError: a file that the settings name cannot be used.
        """
        around = self.around(project, tickets, time.monotonic() + FOR_EVER_S, is_evaluation=True)
        votes = self._rules.votes(project.settings, project.config.questions, tickets)
        return Hearing(around, [_heard(project, *each, {}) for each in zip(around, votes, strict=True)])

    def around(
        self, project: Project, tickets: Sequence[Ticket], ends: float, *, is_evaluation: bool = False
    ) -> list[Around]:
        """What people have said of tickets like each of these; see :class:`ReviewSource`."""
        count, questions = project.settings.few_shot_examples, project.config.questions

        def look_up(chunk: Sequence[Ticket]) -> list[Around]:
            return self._reviews.around(project.ref, questions, chunk, count, is_evaluation=is_evaluation)

        if is_evaluation:  # whole: any two of them may share a request
            return look_up(tickets)
        return in_chunks(tickets, ends, look_up, otherwise=NOTHING_AROUND)


def _lack(weak: EmbeddedModel | None) -> Failed | None:
    if weak is None:
        return Failed(NOT_FITTED, is_late=True)
    return Failed(weak.lack, fatal=True) if weak.lack else None


def _heard(project: Project, around: Around, votes: Votes, guesses: Mapping[str, Any]) -> dict[str, Heard]:
    """By control."""
    return {
        question.name: Heard(
            reviewed=Precedent(*around.same[question.name]) if question.name in around.same else None,
            rules=votes.get(question.name),
            weak=guesses.get(question.name),
            near=[
                (near.labels[question.name], likeness) for near, likeness in around.near if question.name in near.labels
            ],
        )
        for question in project.config.questions
    }
