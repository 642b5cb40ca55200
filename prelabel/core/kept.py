"""An answer to a short text that is kept in its place, and back: label ids and score, nothing a ticket said.

``[0.93, "2", ["1", "4"], "EAIlFEAIlF"]`` is a score, each question's labels in the config's order (null: none fits),
and what speaks for them, where it is known; ``[]`` says that no label of any question fits. Comments are not kept, nor
are other abstentions. What cannot be read is no answer: it is asked for again. ``store.answers`` keeps them.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from prelabel.core.parse import NO_LABEL_FITS, Answer
from prelabel.core.schema import label_ids
from prelabel.core.signals import Grounds, read_grounds, written
from prelabel.core.types import Abstained, Choices, Label, Labeled

DIGITS = 4
"""Of a score: more say nothing, and are paid for in memory."""


class Answers(Protocol):
    """Answers of one project, kept by what they answer. Calls may block."""

    def recall(self, subjects: Sequence[str]) -> list[str | None]:
        """What was kept for each, None if nothing or no longer; all None while Redis is away."""

    def keep(self, answers: Mapping[str, str]) -> None:
        """By subject; nothing is raised while Redis is away."""

    def names(self, subjects: Sequence[str]) -> list[str]:
        """What tells nobody a word of a subject, and its answer can be kept by, in letters, digits, ``-`` and ``_``;
        empty while Redis is away.
        """

    def keep_named(self, answers: Mapping[str, str]) -> None:
        """As :meth:`keep`, by name."""


def packed(answer: Answer, questions: Sequence[Choices]) -> str | None:
    """``answer``, to these ``questions``, as a text; None if it is not worth keeping: an abstention for another reason
    than that no label fits.
    """
    if isinstance(answer, Abstained):
        return "[]" if answer.reason == NO_LABEL_FITS else None
    chosen = [_ids(answer.labels.get(question.name), question) for question in questions]
    told = [written(answer.grounds.get(question.name) for question in questions)] if answer.grounds else []
    return json.dumps([round(answer.score, DIGITS), *chosen, *told], separators=(",", ":"))


def unpacked(text: str, questions: Sequence[Choices]) -> Answer | None:
    """The answer in ``text``; None if it is nothing that :func:`packed` writes for ``questions``."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if found == []:
        return Abstained(NO_LABEL_FITS)
    if not isinstance(found, list) or len(found) not in {len(questions) + 1, len(questions) + 2}:
        return None
    score, *chosen = found[: len(questions) + 1]
    if not isinstance(score, int | float) or isinstance(score, bool) or not 0 <= score <= 1:
        return None
    labels: dict[str, tuple[str, ...]] = {}
    for question, ids in zip(questions, chosen, strict=True):
        values = _values(ids, question)
        if values is None and ids is not None:
            return None
        if values is not None:
            labels[question.name] = values
    grounds = _grounds(found[len(questions) + 1 :], questions)
    return None if grounds is None or not labels else Labeled(labels, float(score), grounds=grounds)


def _grounds(kept: Sequence[Any], questions: Sequence[Choices]) -> dict[str, Grounds] | None:
    """By control; None if it is nothing that :func:`packed` writes."""
    if not kept:
        return {}
    try:
        read = read_grounds(str(kept[0]))
    except ValueError:
        return None
    if len(read) != len(questions):
        return None
    return {question.name: found for question, found in zip(questions, read, strict=True) if found}


def _ids(values: Sequence[str] | None, question: Choices) -> str | list[str] | None:
    if values is None:
        return None
    ids = [key for key, label in _known(question).items() if label.value in values]
    return ids if question.multiple else ids[0]


def _values(ids: Any, question: Choices) -> tuple[str, ...] | None:
    """The labels' values in the config's order; None if it is not such a list of ids as :func:`_ids` gives."""
    chosen = ids if question.multiple else [ids]
    if not isinstance(chosen, list) or not all(isinstance(key, str) for key in chosen):
        return None
    values = tuple(label.value for key, label in _known(question).items() if key in chosen)
    may_be_empty = question.multiple and not question.required
    return values if len(values) == len(chosen) and (values or may_be_empty) else None


@lru_cache(maxsize=256)
def _known(question: Choices) -> dict[str, Label]:
    return label_ids(question.labels)
