"""Questions to the strict JSON schema that an LLM's reply must follow.

Labels appear in the schema by short ids, since their texts and hints stand in the prompt already and every repeated
word is paid for. The schema depends on the questions alone, never on the tickets, so that it stays the same to the byte
over a whole run (providers cache the beginning of a prompt, and the schema belongs to it).
"""

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from prelabel.core.types import Choices, Label

CONFIDENCE = "confidence"
COMMENT = "comment"


def label_ids(labels: Sequence[Label]) -> dict[str, Label]:
    """Id to label in the config's order: "1", "2", ..., or "L1", ... where a label itself is named like an id.

    A label called "5", or "5.", must not be taken for the fifth label.
    """
    names = _folded_names(labels)
    numbers = [str(number) for number in range(1, len(labels) + 1)]
    prefix = next(prefix for prefix in _prefixes() if names.isdisjoint(fold(prefix + n) for n in numbers))
    return {prefix + number: label for number, label in zip(numbers, labels, strict=True)}


def no_label_id(labels: Sequence[Label]) -> str:
    """The id by which the LLM says that no label of a single choice fits: "none", unless a label is called so."""
    names = _folded_names(labels)
    return next(name for name in _no_label_names() if fold(name) not in names)


def fold(text: str) -> str:
    """``text`` with what writers vary at will taken out: width and composition (NFKC), case, space, punctuation."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(char for char in plain if unicodedata.category(char)[0] in "LNMS")


def _folded_names(labels: Sequence[Label]) -> set[str]:
    return {fold(name) for label in labels for name in (label.value, label.text, *label.aliases)}


def answer_keys(questions: Sequence[Choices]) -> dict[str, Choices]:
    """The property of an answer that holds each question's labels: ``label`` or ``labels``, numbered if several."""
    if len(questions) == 1:
        return {_noun(questions[0]): questions[0]}
    return {f"{_noun(question)}_{number}": question for number, question in enumerate(questions, 1)}


def reply_schema(questions: Sequence[Choices], *, with_comment: bool = False) -> dict[str, Any]:
    """The JSON schema of a reply to any number of tickets, in OpenAI's strict subset: all required, none additional.

    :param with_comment: ask for a sentence on each answer, before the labels, so that it can weigh in.
    """
    answer: dict[str, Any] = {"id": {"type": "integer"}}
    if with_comment:
        answer[COMMENT] = {"type": "string"}
    answer |= {key: _labels_schema(question) for key, question in answer_keys(questions).items()}
    answer[CONFIDENCE] = {"type": "number"}
    return _strict({"answers": {"type": "array", "items": _strict(answer)}})


def _prefixes() -> Iterator[str]:
    yield from ("", "L", "id")
    yield from (f"id{'x' * length}" for length in count(1))


def _no_label_names() -> Iterator[str]:
    yield from ("none", "no_label")
    yield from (f"no_label_{number}" for number in count(2))


def _labels_schema(question: Choices) -> dict[str, Any]:
    ids = list(label_ids(question.labels))
    if question.multiple:
        return {"type": "array", "items": {"type": "string", "enum": ids}}
    return {"type": "string", "enum": [*ids, no_label_id(question.labels)]}


def _strict(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _noun(question: Choices) -> str:
    return "labels" if question.multiple else "label"
