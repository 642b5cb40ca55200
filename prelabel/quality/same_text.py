"""Reviewed tasks whose texts a person would call the same, and what all of them agree on."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prelabel.quality.reviews import Labels, Reviewed

Said = tuple[str, Labels | None]
"""A control and what a task's reviewers agree on; None where they are tied."""


class SameText:
    """Reviewed tasks by their texts."""

    def __init__(self, tasks: Iterable[Reviewed]) -> None:
        self._tasks: dict[str, list[int]] = defaultdict(list)
        self._said: dict[str, Counter[Said]] = defaultdict(Counter)
        for each in tasks:
            self._tasks[each.plain].append(each.agreed.task_id)
            self._said[each.plain].update(_said(each))

    def tasks(self, plain: str) -> Sequence[int]:
        """The tasks with this text, as :func:`prelabel.quality.reviews.plain` makes it."""
        return self._tasks.get(plain, ())

    def agreed(self, plain: str, besides: Reviewed | None = None) -> dict[str, tuple[Labels, int]]:
        """For each control the labels that all tasks with this text agree on, and how many tasks those are.

        A control of which they do not all say the same is left out.

        :param besides: a task that is not to be counted.
        """
        said = self._said.get(plain, Counter[Said]())
        if besides and besides.plain == plain:
            said = said - Counter(_said(besides))
        return {
            control: (labels, count)
            for control, found in _by_control(said).items()
            for labels, count in found
            if len(found) == 1 and labels is not None
        }

    def is_disputed(self, plain: str) -> bool:
        """Whether tasks with this text, or people about one of them, disagree on any control."""
        found = _by_control(self._said.get(plain, Counter[Said]()))
        return any(len(each) > 1 or each[0][0] is None for each in found.values())


def _said(task: Reviewed) -> Iterator[Said]:
    yield from task.agreed.labels.items()
    yield from ((control, None) for control in task.disputed)


def _by_control(said: Mapping[Said, int]) -> dict[str, list[tuple[Labels | None, int]]]:
    found = defaultdict(list)
    for (control, labels), count in said.items():
        found[control].append((labels, count))
    return found
