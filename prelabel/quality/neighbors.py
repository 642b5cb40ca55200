"""What the nearest reviewed tickets say of a label: k nearest neighbours, weighted by similarity.

Dudani, "The distance-weighted k-nearest-neighbor rule" (1976), with cosines as weights, and one more neighbour added
that is as like as can be and says nothing (Laplace's rule of succession): so one near ticket is less certain than
many, and far ones are less so than near ones.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence

NEIGHBORS = 16
"""Most that are asked: twice the examples a prompt has by default, for here they cost nothing."""

Neighbor = tuple[Collection[str], float]
"""A reviewed ticket's labels, and how similar it is, from 0 to 1."""


def votes(near: Sequence[Neighbor], labels: Sequence[str]) -> dict[str, float]:
    """Each label's share of the tickets, by similarity; for a single choice they sum to 1.

    The silent neighbour speaks for all labels evenly.
    """
    sums, total = defaultdict[str, float](float), sum(similarity for _, similarity in near)
    for chosen, similarity in near:
        for label in chosen:
            sums[label] += similarity
    return {label: (sums[label] + 1 / len(labels)) / (total + 1) for label in labels}


def agreement(near: Sequence[Neighbor], labels: Collection[str]) -> float | None:
    """The signal ``neighbors``: the share, by similarity, of tickets with exactly these labels; None without any.

    The silent neighbour counts half for, half against.
    """
    if not near:
        return None
    agreeing = sum(similarity for chosen, similarity in near if set(chosen) == set(labels))
    return (agreeing + 0.5) / (sum(similarity for _, similarity in near) + 1)
