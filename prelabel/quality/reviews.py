"""What people said of one task as one answer: the labels that they agree on, control by control.

Examples and evidence count tasks, not annotations: ground truth wins, else what most people say, and a tie is no
answer. Give annotations of people only. Labels that the config does not have (any more) park an annotation for their
control. Read ``same_text`` next, then ``few_shot`` and ``surroundings``: what reviewed tasks are good for.
"""

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

from prelabel.core.types import Annotation, Choices, Example

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A task as its reviewers see it."""

    agreed: Example
    """Its newest text, and the labels of the controls that they agree on; of no others."""
    disputed: frozenset[str]
    """The controls for which they are tied."""
    shown: Example | None
    """As it may be shown to an LLM: with all controls, none of them disputed or parked, at least one with a label;
    nobody has answered those without. None where that cannot be."""
    is_corrected: bool
    """Whether a person changed what had been predicted."""
    plain: str
    """The text as :func:`plain` makes it."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often people who labelled the same task gave it the same labels: what nobody can be expected to exceed."""

    share: float
    """0 to 1."""
    tasks: int
    """That at least two people labelled."""


def review(annotations: Sequence[Annotation], questions: Sequence[Choices]) -> Reviewed | None:
    """One task's annotations as one; None if they say nothing of ``questions``."""
    labels = agreed_labels(annotations, questions)
    rest = [question for question in questions if question.name not in labels]
    disputed = frozenset(question.name for question in rest if _votes(annotations, question))
    if not labels and not disputed:
        return None
    task_id, text = annotations[0].task_id, newest_text(annotations)
    is_whole = not any(annotation.labels.get(question.name) for annotation in annotations for question in rest)
    whole = {question.name: labels.get(question.name, ()) for question in questions}
    return Reviewed(
        agreed=Example(task_id, text, labels),
        disputed=disputed,
        shown=Example(task_id, text, whole) if is_whole and any(whole.values()) else None,
        is_corrected=any(annotation.correction for annotation in _newest_of_each(annotations)),
        plain=plain(text),
    )


def review_of(example: Example, questions: Sequence[Choices]) -> Reviewed:
    """A task with one review, as it may be shown to an LLM."""
    answers = {question.name: example.labels.get(question.name, ()) for question in questions}
    given = {question.name for question in questions if is_answer(question, answers[question.name])}
    labels = {name: answer for name, answer in answers.items() if name in given}
    agreed = Example(example.task_id, example.text, labels)
    return Reviewed(agreed, frozenset(), example, is_corrected=False, plain=plain(example.text))


def agreed_labels(annotations: Sequence[Annotation], questions: Sequence[Choices]) -> dict[str, Labels]:
    """What is :func:`agreed` on, for each control for which something is."""
    found = {question.name: agreed(annotations, question) for question in questions}
    return {name: labels for name, labels in found.items() if labels is not None}


def agreed(annotations: Sequence[Annotation], question: Choices) -> Labels | None:
    """The labels of one task for ``question`` in the config's order, None if there are none or not one set of them.

    Ground truth is asked first, then everybody. The set of labels that most give is taken; each person gives what
    their newest annotation says, and those by nobody known count one by one.
    """
    said = Counter(_votes(annotations, question)).most_common(2)
    if not said or (len(said) > 1 and said[0][1] == said[1][1]):
        return None
    return tuple(label.value for label in question.labels if label.value in said[0][0])


def agreement(tasks: Iterable[Sequence[Annotation]], question: Choices) -> Agreement | None:
    """The mean over tasks of the share of pairs of people that gave exactly the same labels; None without such pairs.

    The observed agreement of Fleiss, "Measuring nominal scale agreement among many raters" (1971), here with as many
    raters as each task has, and a set of labels for a category.

    :param tasks: the annotations of each.
    """
    shares = []
    for annotations in tasks:
        known = [each for each in _newest_of_each(annotations) if each.author is not None]
        said = Counter(answer for each in known if (answer := _answer(each, question)) is not None)
        if (people := said.total()) > 1:
            shares.append(sum(count * (count - 1) for count in said.values()) / (people * (people - 1)))
    return Agreement(fmean(shares), len(shares)) if shares else None


def is_answer(question: Choices, labels: Collection[str]) -> bool:
    """Whether all of ``labels`` are the config's; that none fits is an answer to a multiple choice that may be so."""
    may_be_empty = question.multiple and not question.required
    return _offered(question).issuperset(labels) and (bool(labels) or may_be_empty)


def newest_text(annotations: Sequence[Annotation]) -> str:
    """The text of one task, which somebody may have edited between two annotations."""
    return max(annotations, key=_age).text


def plain(text: str) -> str:
    """``text`` without what is no difference to a person: width and composition (NFKC), case, white space."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def _votes(annotations: Sequence[Annotation], question: Choices) -> list[frozenset[str]]:
    """Each person's labels: of ground truth where that answers the question, else of all."""
    truths = [annotation for annotation in annotations if annotation.ground_truth]
    for some in (truths, annotations):
        votes = [_answer(annotation, question) for annotation in _newest_of_each(some)]
        if found := [vote for vote in votes if vote is not None]:
            return found
    return []


def _answer(annotation: Annotation, question: Choices) -> frozenset[str] | None:
    labels = frozenset(annotation.labels.get(question.name, ()))
    return labels if is_answer(question, labels) else None


def _newest_of_each(annotations: Iterable[Annotation]) -> list[Annotation]:
    newest = {(each.author, each.id if each.author is None else 0): each for each in sorted(annotations, key=_age)}
    return list(newest.values())


def _age(annotation: Annotation) -> tuple[float, int]:
    return annotation.updated_at, annotation.id


@lru_cache(maxsize=256)
def _offered(question: Choices) -> frozenset[str]:
    return frozenset(label.value for label in question.labels)
