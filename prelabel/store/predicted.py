"""What was predicted last for a task, as a text of some forty characters: a million tasks are remembered in 50 MB.

``0.93,1,2,5,"EAIlF"`` is a score, then by their numbers the version, and each control with the label that was chosen
of it, or a list of none or several; at the end, where it is known, what speaks for them. The numbers are a project's
own, given in the order in which its words first came up, and never again changed. Texts so short lie in hashes that
Redis keeps in one piece, as those of ``store.answers``; ``store.projects`` keeps them.
"""

import json
from collections.abc import Iterable, Mapping

from prelabel.core.signals import read_grounds, written
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
    said = [part for name, values in labels for part in (numbers[name], _chosen([numbers[value] for value in values]))]
    told = [written(map(prediction.grounds.get, prediction.labels))] if prediction.grounds else []
    return json.dumps([prediction.score, numbers[prediction.version], *said, *told], separators=(",", ":"))[1:-1]


def unpacked(text: str, words: Mapping[int, str]) -> Prediction:
    """The prediction in what :func:`packed` gave."""
    score, version, *said = json.loads(text if text.startswith("[") else f"[{text}]")
    told = read_grounds(said.pop()) if said and isinstance(said[-1], str) else [None] * (len(said) // 2)
    pairs = zip(said[::2], said[1::2], strict=True)
    labels = {words[name]: tuple(words[value] for value in _several(values)) for name, values in pairs}
    grounds = {name: each for name, each in zip(labels, told, strict=True) if each}
    return Prediction(labels, score, words[version], grounds)


def _chosen(numbers: list[int]) -> int | list[int]:
    return numbers[0] if len(numbers) == 1 else numbers


def _several(numbers: int | list[int]) -> list[int]:
    return [numbers] if isinstance(numbers, int) else numbers


def _words(prediction: Prediction) -> Iterable[str]:
    yield prediction.version
    for name, values in prediction.labels.items():
        yield name
        yield from values
