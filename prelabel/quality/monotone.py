"""A curve from scores to the shares that were right, rising throughout, for whatever a logistic curve cannot follow.

Isotonic regression by pooling adjacent violators (Ayer et al. 1955; for probabilities Zadrozny and Elkan, "Transforming
classifier scores into accurate multiclass probability estimates", 2002), drawn through the middle of each block as
centred isotonic regression does (Oron and Flournoy, "Centered isotonic regression", 2017): so it has no steps, and
scores that were apart stay apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Curve:
    """From (0, 0) over these points to (1, 1), straight in between; both coordinates rise from point to point."""

    scores: tuple[float, ...]
    shares: tuple[float, ...]

    def at(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The shares at scores from 0 to 1."""
        found: npt.NDArray[np.float64] = np.interp(scores, (0.0, *self.scores, 1.0), (0.0, *self.shares, 1.0))
        return found


def fit_curve(scores: Sequence[float], right: Sequence[bool]) -> Curve:
    """The curve nearest to what was right, by squares.

    A right case at 0 and a wrong one at 1 are added: Laplace's rule of succession for the outermost blocks, so that no
    share is 0 or 1.
    """
    values, place = np.unique([*scores, 0.0, 1.0], return_inverse=True)
    counts = np.bincount(place)
    rights = np.bincount(place, weights=[*right, True, False])
    blocks: list[tuple[float, float, float]] = []  # sums of scores, of right ones, count
    for block in zip((values * counts).tolist(), rights.tolist(), counts.tolist(), strict=True):
        pooled: tuple[float, float, float] = block
        while blocks and _share(blocks[-1]) >= _share(pooled):
            before = blocks.pop()
            pooled = (before[0] + pooled[0], before[1] + pooled[1], before[2] + pooled[2])
        blocks.append(pooled)
    points = [(block[0] / block[2], _share(block)) for block in blocks]
    inside = [(score, share) for score, share in points if 0 < score < 1]
    return Curve(tuple(score for score, _ in inside), tuple(share for _, share in inside))


def _share(block: tuple[float, float, float]) -> float:
    return block[1] / block[2]
