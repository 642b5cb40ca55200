"""What reviewed tasks say of a ticket: examples for its prompt, its neighbours, and what its very text was labelled.

One look at the index of similar texts serves them all. Read ``few_shot`` and ``same_text`` first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from prelabel.core.types import Choices, Example, Ticket
from prelabel.quality.few_shot import FewShot
from prelabel.quality.neighbors import NEIGHBORS
from prelabel.quality.reviews import Labels, Reviewed, plain
from prelabel.quality.same_text import SameText
from prelabel.quality.similarity import Floats, SimilarityIndex, largest

NEAR_COPY = 0.95
"""Cosine from which on a text is a copy with a word or a number changed: it gives the answer away."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Around:
    """What reviewed tasks say of a ticket; its own task is never among them."""

    examples: Sequence[Example]
    """For the prompt, the most fitting first, each with all controls."""
    near: Sequence[tuple[Example, float]]
    """The nearest with their cosine, above 0 to 1, the nearest first: each with the controls whose labels are agreed,
    and no others. Those with the same text are among them, whether or not they agree."""
    same: Mapping[str, tuple[Labels, int]]
    """For each control the labels that all tasks with the very same text agree on, and how many tasks those are."""


class Surroundings:
    """A project's reviewed tasks, prepared; to be made anew when there are others. Not thread-safe.

    :param index: the tasks' texts by their ids, which changes no more; it may hold others.
    :param tasks: by their ids.
    """

    def __init__(self, questions: Sequence[Choices], index: SimilarityIndex, tasks: Mapping[int, Reviewed]) -> None:
        self._index = index
        self._tasks = [tasks.get(key) for key in index.keys.tolist()]
        self._places = {key: place for place, key in enumerate(index.keys.tolist())}
        self._same = SameText(tasks.values())
        self._few_shot = FewShot(questions, self._tasks, self._same)
        self._votes = np.array([bool(task and task.agreed.labels) for task in self._tasks])

    def around(self, tickets: Sequence[Ticket], count: int, *, is_evaluation: bool = False) -> list[Around]:
        """What there is around each ticket.

        :param count: at most so many examples.
        :param is_evaluation: leave near copies of a ticket out, and what its very text was labelled; a near copy of one
            is no example of any, for they may share a request.
        """
        hidden = self._copies(tickets) if is_evaluation else None
        return [self._around(*each, count, hidden) for each in self._compared(tickets)]

    def _compared(self, tickets: Sequence[Ticket]) -> Iterator[tuple[Ticket, Floats]]:
        """Each with its cosines by the tasks' places, 0 with its own."""
        for ticket, cosines in zip(tickets, self._index.compare([each.text for each in tickets]), strict=True):
            if (own := self._own(ticket)) is not None:
                cosines[own] = 0.0
            yield ticket, cosines

    def _own(self, ticket: Ticket) -> int | None:
        """The place of its own task."""
        return None if ticket.task_id is None else self._places.get(ticket.task_id)

    def _copies(self, tickets: Sequence[Ticket]) -> Flags:
        """Which places have a near copy of any of ``tickets``, by another task."""
        found = np.zeros(len(self._tasks), dtype=np.bool_)
        for ticket, cosines in self._compared(tickets):
            found |= self._is_copy(ticket, cosines)
        return found

    def _is_copy(self, ticket: Ticket, cosines: Floats) -> Flags:
        found = cosines >= NEAR_COPY
        found[[self._places[task] for task in self._same.tasks(plain(ticket.text)) if task != ticket.task_id]] = True
        return found

    def _around(self, ticket: Ticket, cosines: Floats, count: int, hidden: Flags | None) -> Around:
        """:param hidden: in an evaluation, the places that may be no example."""
        shown = cosines
        if hidden is not None:
            cosines[self._is_copy(ticket, cosines)] = 0.0
            shown = cosines * ~hidden
        near = [(self._tasks[place], cosines[place]) for place in largest(cosines * self._votes, NEIGHBORS)]
        own = self._own(ticket)
        reviewed = None if own is None else self._tasks[own]
        same = {} if hidden is not None else self._same.agreed(plain(ticket.text), reviewed)
        return Around(
            examples=self._few_shot.choose(shown, count),
            near=[(task.agreed, float(cosine)) for task, cosine in near if task],
            same=same,
        )
