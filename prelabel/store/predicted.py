"""What was predicted last for a task, as a text of some twenty characters: a million tasks are remembered in 25 MB.

``[0.93,1,2,[5]]`` is a score, then by their numbers the version, and each control with the labels that were chosen of
it. The numbers are a project's own, given in the order in which its words first came up, and never again changed. Texts
so short lie in hashes that Redis keeps in one piece, as those of ``store.answers``; ``store.projects`` keeps them.
"""

import json
from collections.abc import Iterable, Mapping

from prelabel.core.types import Prediction

BUCKET_TASKS = 256
"""Tasks by id that share a hash."""


def bucket(task: int) -> int:
    """The number of the hash that a task is in."""
    return task // BUCKET_TASKS


def new_words(predictions: Iterable[Prediction], known: Mapping[str, str]) -> dict[str, int]:
    """The words of ``predictions`` that are not ``known``, with the numbers that they get."""
    found = dict.fromkeys(word for prediction in predictions for word in _words(prediction) if word not in known)
    return {word: number for number, word in enumerate(found, len(known) + 1)}


def packed(prediction: Prediction, numbers: Mapping[str, int]) -> str:
    """``prediction`` as a text."""
    labels = prediction.labels.items()
    said = [part for name, values in labels for part in (numbers[name], [numbers[value] for value in values])]
    return json.dumps([prediction.score, numbers[prediction.version], *said], separators=(",", ":"))


def unpacked(text: str, words: Mapping[int, str]) -> Prediction:
    """The prediction in what :func:`packed` gave."""
    score, version, *said = json.loads(text)
    pairs = zip(said[::2], said[1::2], strict=True)
    labels = {words[name]: tuple(words[value] for value in values) for name, values in pairs}
    return Prediction(labels, score, words[version])


def _words(prediction: Prediction) -> Iterable[str]:
    yield prediction.version
    for name, values in prediction.labels.items():
        yield name
        yield from values
