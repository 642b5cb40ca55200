"""One project's annotations as reviewed tasks, kept ready for the questions that were asked last."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from prelabel.core.types import Annotation, Choices, Example
from prelabel.quality.reviews import Reviewed, newest_text, review
from prelabel.quality.similarity import SimilarityIndex
from prelabel.quality.surroundings import Surroundings

Questions = tuple[Choices, ...]


class ReviewedTasks:
    """What people say of tasks. A change costs what it touches, and a new look some milliseconds. Not thread-safe."""

    def __init__(self) -> None:
        self._annotations: dict[int, Annotation] = {}
        self._by_task: defaultdict[int, dict[int, Annotation]] = defaultdict(dict)
        self._texts: dict[int, str] = {}
        self._index = SimilarityIndex()
        self._questions: Questions = ()
        self._reviewed: dict[int, Reviewed] = {}
        self._changed: set[int] = set()
        self._surroundings: Surroundings | None = None
        self._agreed: dict[int, Example] | None = None

    def change(self, put: Iterable[Annotation], deleted: Iterable[int] = ()) -> None:
        """Annotations as they stand now, and those that are there no more. Nobody's take out what was a person's."""
        states = {annotation.id: annotation for annotation in put}
        touched: set[int] = set()
        for number in (*deleted, *states):
            if old := self._annotations.pop(number, None):
                self._by_task[old.task_id].pop(number)
                touched.add(old.task_id)
        for number, annotation in states.items():
            if annotation.source.is_person:
                self._annotations[number] = self._by_task[annotation.task_id][number] = annotation
                touched.add(annotation.task_id)
        self._index_texts(touched)
        self._changed |= touched

    def annotations(self) -> dict[int, list[Annotation]]:
        """Those of people, by task, at least one each."""
        return {task: list(found.values()) for task, found in self._by_task.items()}

    def agreed(self, questions: Questions) -> Mapping[int, Example]:
        """Each task with the controls whose labels are agreed, of those tasks that have any.

        The same mapping until something has changed; it is never changed itself.
        """
        self._review(questions)
        if self._agreed is None:
            self._agreed = {task: each.agreed for task, each in self._reviewed.items() if each.agreed.labels}
        return self._agreed

    def surroundings(self, questions: Questions) -> Surroundings:
        """To be used before the next change."""
        self._review(questions)
        if self._surroundings is None:
            self._surroundings = Surroundings(questions, self._index, self._reviewed)
        return self._surroundings

    def _index_texts(self, tasks: Iterable[int]) -> None:
        """The newest text of each task; of those without annotations none."""
        fresh: dict[int, str] = {}
        for task in tasks:
            if not self._by_task[task]:
                del self._by_task[task], self._texts[task]
                self._index.remove(task)
            elif self._texts.get(task) != (text := newest_text(list(self._by_task[task].values()))):
                fresh[task] = text
        self._index.put_all(fresh)
        self._texts |= fresh

    def _review(self, questions: Questions) -> None:
        """Look again at what has changed; if other questions are asked, at everything."""
        if questions != self._questions:
            self._questions, self._reviewed, self._changed = questions, {}, set(self._by_task)
            self._surroundings = self._agreed = None
        for task in self._changed:
            annotations = list(self._by_task[task].values()) if task in self._by_task else []
            if found := review(annotations, questions):
                self._reviewed[task] = found
            else:
                self._reviewed.pop(task, None)
        if self._changed:
            self._surroundings = self._agreed = None
        self._changed = set()
