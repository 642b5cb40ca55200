"""An answer to a short text that is kept in its place, and back: label ids and confidence, nothing a ticket said.

``[0.93, "2", ["1", "4"]]`` is a confidence and each question's labels in the config's order (null: none fits); ``[]``
says that no label of any question fits. Comments are not kept, nor are other abstentions. What cannot be read is no
answer: it is asked for again. ``store.answers`` keeps them.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from prelabel.core.parse import NO_LABEL_FITS, Answer
from prelabel.core.schema import label_ids
from prelabel.core.types import Abstained, Choices, Label, Labeled

DIGITS = 4
"""Of a confidence: more say nothing, and are paid for in memory."""


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
    return json.dumps([round(answer.score, DIGITS), *chosen], separators=(",", ":"))


def unpacked(text: str, questions: Sequence[Choices]) -> Answer | None:
    """The answer in ``text``; None if it is nothing that :func:`packed` writes for ``questions``."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if found == []:
        return Abstained(NO_LABEL_FITS)
    if not isinstance(found, list) or len(found) != len(questions) + 1:
        return None
    score, *chosen = found
    if not isinstance(score, int | float) or isinstance(score, bool) or not 0 <= score <= 1:
        return None
    labels: dict[str, tuple[str, ...]] = {}
    for question, ids in zip(questions, chosen, strict=True):
        values = _values(ids, question)
        if values is None and ids is not None:
            return None
        if values is not None:
            labels[question.name] = values
    return Labeled(labels, float(score)) if labels else None


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
