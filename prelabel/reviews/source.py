"""The reviews of all projects, for whoever labels and whoever measures.

Each process keeps them and brings them up to date from the store before they are used, so a correction counts from the
next prompt on, in every process. If Redis is away, what was known last serves on.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from prelabel.core.types import Choices, LabelSource, Ticket
from prelabel.errors import StoreUnavailable
from prelabel.quality import evidence, reviews
from prelabel.quality.evidence import Blind
from prelabel.quality.reviews import Agreement
from prelabel.quality.surroundings import Around
from prelabel.quality.weak_model import EmbeddedModel, Guess
from prelabel.reviews.fitted import Fitted
from prelabel.reviews.tasks import ReviewedTasks
from prelabel.store.annotations import Annotations
from prelabel.store.keys import ProjectRef

log = logging.getLogger(__name__)


class Reviews:
    """Reviews of all projects; one a process, shared by its threads. Starts nothing before it is asked."""

    def __init__(self, store: Annotations) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._projects: dict[ProjectRef, _Project] = defaultdict(_Project)

    def around(
        self,
        ref: ProjectRef,
        questions: Sequence[Choices],
        tickets: Sequence[Ticket],
        count: int,
        *,
        is_evaluation: bool = False,
    ) -> list[Around]:
        """For each ticket its examples, at most ``count``, its neighbours, and what its very text was labelled.

        :param is_evaluation: leave near copies of a ticket out, and what its very text was labelled; a near copy of one
            is no example of any.
        """
        with self._open(ref) as project:
            return project.tasks.surroundings(tuple(questions)).around(tickets, count, is_evaluation=is_evaluation)

    def weak(
        self, ref: ProjectRef, questions: Sequence[Choices], *, patiently: bool, within_s: float = 0.0
    ) -> EmbeddedModel | None:
        """The weak model of all reviewed tasks, or of all but the few last: see ``fitted``.

        :param patiently: wait for it to be fitted. Else, where that takes long, it is fitted in the background, and
            the last one is given, None before the first.
        :param within_s: how long the first is waited for where that is not done patiently.
        """
        with self._open(ref) as project:
            agreed = project.tasks.agreed(tuple(questions))
        if patiently:
            return project.fitted.waited_for(tuple(questions), agreed)
        return project.fitted.meanwhile(tuple(questions), agreed, within_s=within_s)

    def blind(self, ref: ProjectRef, questions: Sequence[Choices]) -> dict[int, Blind]:
        """The evidence, by task."""
        with self._open(ref) as project:
            annotations = project.tasks.annotations()
        return evidence.blind(annotations, questions)

    def agreement(self, ref: ProjectRef, questions: Sequence[Choices]) -> dict[str, Agreement]:
        """How often people agree, for each control of which two have labelled the same task blind.

        Those who see the same suggestion agree on that.
        """
        with self._open(ref) as project:
            annotations = project.tasks.annotations().values()
        unswayed = [[each for each in task if each.source is LabelSource.PERSON_BLIND] for task in annotations]
        found = {question.name: reviews.agreement(unswayed, question) for question in questions}
        return {name: agreement for name, agreement in found.items() if agreement}

    def cross_fitted(
        self, ref: ProjectRef, questions: Sequence[Choices], tasks: Collection[int]
    ) -> dict[int, dict[str, Guess]]:
        """For each reviewed one of ``tasks`` by control what the weak model says.

        By models that have not seen it: see :func:`prelabel.quality.evidence.cross_fitted`. With thousands of reviews
        it takes many seconds.
        """
        with self._open(ref) as project:
            annotations = project.tasks.annotations()
            agreed = project.tasks.agreed(tuple(questions))
        texts = {task: reviews.newest_text(annotations[task]) for task in tasks if task in annotations}
        return evidence.cross_fitted(questions, [agreed[task] for task in sorted(agreed)], texts)

    @contextmanager
    def _open(self, ref: ProjectRef) -> "Iterator[_Project]":
        """One project's reviews, as the store has them now, for one thread at a time."""
        with self._lock:
            project = self._projects[ref]
        with project.lock:
            try:
                project.update(self._store, ref)
            except StoreUnavailable as error:
                log.warning("reviews of project %s may be out of date: %s", ref.id, error)
            yield project


class _Project:
    """``lock`` guards all but ``fitted``."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.tasks = ReviewedTasks()
        self.fitted = Fitted()
        self._revision = 0

    def update(self, store: Annotations, ref: ProjectRef) -> None:
        changes = store.changes(ref, self._revision)
        if changes.revision < self._revision:  # Redis has lost or forgotten what is known here
            self.tasks = ReviewedTasks()
            changes = store.changes(ref)
        self.tasks.change(changes.put, changes.deleted)
        self._revision = changes.revision
