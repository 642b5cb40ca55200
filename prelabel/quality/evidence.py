"""What accuracy is measured by: tasks that people labelled without having seen a suggestion.

Reviewers who see one are swayed by it, so their labels are examples but no evidence. Read ``reviews`` first.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from prelabel.core.types import Annotation, Choices, Example, LabelSource
from prelabel.quality.reviews import Labels, agreed_labels, newest_text, plain
from prelabel.quality.weak_model import EmbeddedModel, Guess

FOLDS = 5
"""Of cross-fitting: each model sees four fifths of the evidence and all other reviews, and takes seconds to fit."""


@dataclass(frozen=True, slots=True)
class Blind:
    """A task that was labelled blind."""

    task_id: int
    text: str
    labels: Mapping[str, Labels]
    """Of the controls whose labels are agreed, at least one."""


def blind(tasks: Mapping[int, Sequence[Annotation]], questions: Sequence[Choices]) -> dict[int, Blind]:
    """Those of ``tasks``, annotations of people, that somebody has labelled blind; ground truth counts there, too."""
    found: dict[int, Blind] = {}
    for task, annotations in tasks.items():
        if not any(_is_blind(each) for each in annotations):
            continue
        counted = [each for each in annotations if _is_blind(each) or each.ground_truth]
        if labels := agreed_labels(counted, questions):
            found[task] = Blind(task, newest_text(annotations), labels)
    return found


def cross_fitted(
    questions: Sequence[Choices], reviewed: Collection[Example], texts: Mapping[int, str]
) -> dict[int, dict[str, Guess]]:
    """For each task of ``texts`` by control what the weak model says.

    By models that were fitted to all of ``reviewed`` but a fifth of these tasks, among them the task itself, and any
    others with the same text as one of those. Controls of which too few are reviewed are missing.
    """
    same = {example.task_id: plain(example.text) for example in reviewed}
    tasks = sorted(texts)
    found: dict[int, dict[str, Guess]] = {}
    for start in range(min(FOLDS, len(tasks))):
        held_out = tasks[start::FOLDS]
        away = {plain(texts[task]) for task in held_out}
        rest = [each for each in reviewed if each.task_id not in held_out and same[each.task_id] not in away]
        told = EmbeddedModel(questions, rest).guess([texts[task] for task in held_out])
        found |= dict(zip(held_out, told, strict=True))
    return found


def _is_blind(annotation: Annotation) -> bool:
    return annotation.source is LabelSource.PERSON_BLIND
