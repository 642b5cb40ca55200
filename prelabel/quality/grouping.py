"""Which texts to put together, so that one request's tickets are alike and the examples of one serve the others."""

from collections.abc import Sequence

import numpy as np

from prelabel.quality.similarity import SimilarityIndex

BLOCK = 1024
"""Texts that are compared with each other; beyond that it takes longer than it is worth."""


def similar_order(texts: Sequence[str], size: int) -> list[int]:
    """The places of all texts, in an order in which each ``size`` in a row are alike.

    From the first text that is left its ``size - 1`` nearest are taken, and so on: greedy, and so the last groups of a
    block are the least alike. The same texts give the same order.
    """
    if size < 2:
        return list(range(len(texts)))
    order: list[int] = []
    for start in range(0, len(texts), BLOCK):
        order += [start + place for place in _order(texts[start : start + BLOCK], size)]
    return order


def _order(texts: Sequence[str], size: int) -> list[int]:
    index = SimilarityIndex()
    index.put_all(dict(enumerate(texts)))
    cosines = index.cosines()
    order: list[int] = []
    for seed in range(len(texts)):
        if cosines[seed, seed] < 0:  # taken
            continue
        cosines[seed, seed] = 2.0
        nearest = np.argsort(-cosines[seed], kind="stable")[:size]
        taken = nearest[cosines[seed, nearest] >= 0]
        order += taken.tolist()
        cosines[:, taken] = -1.0
    return order
