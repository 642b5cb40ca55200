"""Which reviewed tasks an LLM is shown beside a ticket: the nearest, corrected ones before others about as near.

Where every question has :data:`FEW_LABELS` labels or fewer it is of each label one or two instead, the nearest, so that
all labels are shown. Tasks whose text people have labelled differently are not shown, and of several with the same text
one is.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from prelabel.core.types import Choices, Example
from prelabel.quality.reviews import Reviewed
from prelabel.quality.same_text import SameText
from prelabel.quality.similarity import Floats, largest

FEW_LABELS = 5
PER_LABEL = 2
CORRECTED = 1.25
"""How many times as near a task counts whose prediction a person corrected: it shows what the LLM gets wrong, and so
goes before those that are up to a quarter nearer."""
COPIES = 2
"""Tasks with the same text that are candidates: one may be the ticket's own."""

Slot = tuple[str, str]
"""A control and one of its labels, empty for none of them."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    place: int
    example: Example
    plain: str
    is_corrected: bool

    @property
    def slots(self) -> Iterator[Slot]:
        for control, labels in self.example.labels.items():
            yield from ((control, label) for label in labels or ("",))


class FewShot:
    """A project's reviewed tasks, prepared.

    :param tasks: by their places, None where there is none.
    """

    def __init__(self, questions: Sequence[Choices], tasks: Sequence[Reviewed | None], same: SameText) -> None:
        self._candidates = {each.place: each for each in _candidates(tasks, same)}
        self._nearer = np.zeros(len(tasks))
        for place, each in self._candidates.items():
            self._nearer[place] = CORRECTED if each.is_corrected else 1.0
        is_few = all(len(question.labels) <= FEW_LABELS for question in questions)
        self._slots = _by_slot(self._candidates.values()) if is_few else None

    def choose(self, cosines: Floats, count: int) -> list[Example]:
        """At most ``count``, the most fitting first.

        With few labels that is the nearest of each label, then the second of each. A task stands for all of its
        labels, so of one that goes with many others there may be more than two.

        :param cosines: of the ticket with each task, by their places; 0 for those that are not to be shown.
        """
        if count < 1:
            return []
        nearness = cosines * self._nearer
        if self._slots is None:
            return _once(self._at(largest(nearness, COPIES * count)))[:count]
        return self._of_each(nearness, self._slots)[:count]

    def _of_each(self, nearness: Floats, slots: Mapping[Slot, npt.NDArray[np.intp]]) -> list[Example]:
        best = {slot: places[largest(nearness[places], COPIES * PER_LABEL)] for slot, places in slots.items()}
        found = {slot: places for slot, places in best.items() if len(places)}
        chosen: list[_Candidate] = []
        filled = Counter[Slot]()
        for number in range(PER_LABEL):
            for slot in sorted(found, key=lambda slot: -nearness[found[slot][0]]):
                texts = {each.plain for each in chosen}
                fresh = (each for each in self._at(found[slot]) if each.plain not in texts)
                if filled[slot] == number and (new := next(fresh, None)):
                    chosen.append(new)
                    filled.update(new.slots)
        return [each.example for each in chosen]

    def _at(self, places: npt.NDArray[np.intp]) -> Iterator[_Candidate]:
        return (self._candidates[place] for place in places.tolist())


def _candidates(tasks: Sequence[Reviewed | None], same: SameText) -> Iterator[_Candidate]:
    """Those that can be shown; of a text with more than :data:`COPIES`, corrected ones rather than others."""
    left = defaultdict[str, int](lambda: COPIES)
    found = [
        _Candidate(place, task.shown, task.plain, task.is_corrected)
        for place, task in enumerate(tasks)
        if task and task.shown and not same.is_disputed(task.plain)
    ]
    for each in sorted(found, key=lambda each: not each.is_corrected):
        left[each.plain] -= 1
        if left[each.plain] >= 0:
            yield each


def _by_slot(candidates: Iterable[_Candidate]) -> dict[Slot, npt.NDArray[np.intp]]:
    found = defaultdict[Slot, list[int]](list)
    for each in candidates:
        for slot in each.slots:
            found[slot].append(each.place)
    return {slot: np.array(sorted(places), dtype=np.intp) for slot, places in found.items()}


def _once(candidates: Iterable[_Candidate]) -> list[Example]:
    """The first of each text."""
    by_text: dict[str, Example] = {}
    for each in candidates:
        by_text.setdefault(each.plain, each.example)
    return list(by_text.values())
