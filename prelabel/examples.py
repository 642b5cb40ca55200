"""The reviewed tickets of a project as examples for the next prompts, nearest first.

Each process keeps an index and brings it up to date from the store before it is used, so a correction counts from the
next prompt on, in every process. If Redis is away, what was known last serves on.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Sequence

from prelabel.core.types import Annotation, Choices, Example, Ticket
from prelabel.errors import StoreUnavailable
from prelabel.quality.similarity import SimilarityIndex
from prelabel.quality.weak_model import EmbeddedModel
from prelabel.store.annotations import Annotations
from prelabel.store.keys import ProjectRef

log = logging.getLogger(__name__)

SPARE = 4
"""How many times more candidates are looked at than wanted: some are parked, or of the same task."""


class Examples:
    """Examples of all projects, one index each."""

    def __init__(self, store: Annotations) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._projects: dict[ProjectRef, _Reviewed] = defaultdict(_Reviewed)

    def nearest(
        self, ref: ProjectRef, questions: Sequence[Choices], tickets: Sequence[Ticket], count: int
    ) -> list[list[Example]]:
        """For each ticket at most ``count`` examples; never the ticket's own task."""
        if count == 0:
            return [[] for _ in tickets]
        with self._lock:
            reviewed = self._projects[ref]
        with reviewed.lock:
            self._update(reviewed, ref)
            return reviewed.nearest(questions, tickets, count)

    def embedded(self, ref: ProjectRef, questions: Sequence[Choices]) -> EmbeddedModel:
        """The embedded model, fitted to all reviewed tickets; fitted anew when there are others."""
        with self._lock:
            reviewed = self._projects[ref]
        with reviewed.lock:
            self._update(reviewed, ref)
            return reviewed.embedded(tuple(questions))

    def _update(self, reviewed: "_Reviewed", ref: ProjectRef) -> None:
        try:
            reviewed.update(self._store, ref)
        except StoreUnavailable as error:
            log.warning("examples of project %s may be out of date: %s", ref.id, error)


class _Reviewed:
    """One project's reviewed tickets; ``lock`` guards all of it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._revision = 0
        self._annotations: dict[int, Annotation] = {}
        self._index = SimilarityIndex()
        self._embedded: dict[tuple[int, tuple[Choices, ...]], EmbeddedModel] = {}

    def update(self, store: Annotations, ref: ProjectRef) -> None:
        changes = store.changes(ref, self._revision)
        if changes.revision < self._revision:  # Redis has lost or forgotten what this index knows
            self._annotations, self._index = {}, SimilarityIndex()
            changes = store.changes(ref)
        people = [annotation for annotation in changes.put if annotation.source.is_person]
        for number in (*changes.deleted, *(annotation.id for annotation in changes.put)):
            self._annotations.pop(number, None)
            self._index.remove(number)
        self._annotations |= {annotation.id: annotation for annotation in people}
        self._index.put_all({annotation.id: annotation.text for annotation in people})
        self._revision = changes.revision

    def embedded(self, questions: tuple[Choices, ...]) -> EmbeddedModel:
        key = self._revision, questions
        if key not in self._embedded:
            by_id = [self._annotations[number] for number in sorted(self._annotations)]
            self._embedded = {key: EmbeddedModel(questions, self._choose(by_id, questions, None))}
        return self._embedded[key]

    def nearest(self, questions: Sequence[Choices], tickets: Sequence[Ticket], count: int) -> list[list[Example]]:
        found = self._index.nearest([ticket.text for ticket in tickets], count * SPARE)
        return [
            self._choose([self._annotations[key] for key, _ in near], questions, ticket.task_id)[:count]
            for near, ticket in zip(found, tickets, strict=True)
        ]

    def _choose(self, near: Sequence[Annotation], questions: Sequence[Choices], task_id: int | None) -> list[Example]:
        """One example per task, made of its newest annotation, in the order of ``near``."""
        newest: dict[int, Annotation] = {}
        for annotation in near:
            held = newest.get(annotation.task_id)
            if annotation.task_id != task_id and (held is None or annotation.updated_at > held.updated_at):
                newest[annotation.task_id] = annotation
        examples = (_example(annotation, questions) for annotation in newest.values())
        return [example for example in examples if example]


def _example(annotation: Annotation, questions: Sequence[Choices]) -> Example | None:
    """None while the annotation is parked: one of its labels is not in the config (any more)."""
    labels = {question.name: annotation.labels.get(question.name, ()) for question in questions}
    for question in questions:
        if not set(labels[question.name]) <= {label.value for label in question.labels}:
            return None
    if not any(labels.values()):
        return None
    return Example(annotation.task_id, annotation.text, labels)
