"""A label as an LLM wrote it to a label of the config: its id, else exactly, else folded, else a declared alias.

Nothing is ever matched to "the nearest" label: what none of these finds is no label.
"""

import unicodedata
from functools import lru_cache

from prelabel.core.schema import fold, label_ids
from prelabel.core.types import Choices, Label


def match_label(written: str, question: Choices) -> Label | None:
    """The one label that ``written`` names, or None if it names none or cannot be told from another."""
    ids, _, _ = _names(question)
    return ids.get(unicodedata.normalize("NFKC", written.strip())) or named_label(written, question)


def named_label(name: str, question: Choices) -> Label | None:
    """The same for what people write, who do not know of ids."""
    _, exact, folded = _names(question)
    return exact.get(name.strip()) or folded.get(fold(name))


@lru_cache(maxsize=256)
def _names(question: Choices) -> tuple[dict[str, Label], dict[str, Label], dict[str, Label]]:
    """The question's labels by id, by exact name and by folded name or alias; names that two labels share are out."""
    spelled = [(name, label) for label in question.labels for name in (label.value, label.text)]
    aliases = [(alias, label) for label in question.labels for alias in label.aliases]
    exact = _unambiguous(spelled)
    folded = _unambiguous([(fold(name), label) for name, label in spelled])
    by_alias = _unambiguous([(fold(name), label) for name, label in aliases])
    return label_ids(question.labels), exact, {**by_alias, **folded}


def _unambiguous(pairs: list[tuple[str, Label]]) -> dict[str, Label]:
    found: dict[str, set[Label]] = {}
    for name, label in pairs:
        found.setdefault(name, set()).add(label)
    return {name: labels.pop() for name, labels in found.items() if name and len(labels) == 1}
