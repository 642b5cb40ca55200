"""How good scores are: whether they keep their word, whether they put the right before the wrong, and what that buys.

Every figure is of tickets whose answers are known to be right or wrong, a score each. Equal scores are never told
apart: the order of the tickets changes nothing. ``calibration`` makes the scores.
"""

from collections.abc import Sequence
from math import floor

import numpy as np
import numpy.typing as npt

BINS = 10
"""Of equal width; as issues and papers state the error (Guo et al. take 15)."""
RESAMPLED = 1000
"""Draws behind the noise floor: its own error is then about a fiftieth of it."""
ROUNDING = 1e-9
"""What a sum of floating-point numbers may be off by."""

Floats = npt.NDArray[np.float64]


def expected_calibration_error(probabilities: Sequence[float], right: Sequence[bool], bins: int = BINS) -> float:
    """How far, on average over the tickets, the share that is right is from what their bin's scores state; 0 to 1.

    Guo et al., "On calibration of modern neural networks" (2017), equations 2 and 3; bins of equal width, 1 in the
    last; 0 of no tickets. Even perfect scores do not reach 0: see :func:`noise_floor`.
    """
    stated = np.asarray(probabilities, dtype=np.float64)
    if not len(stated):
        return 0.0
    return float(_binned_error(stated, np.asarray([right], dtype=np.float64), bins)[0])


def noise_floor(probabilities: Sequence[float], bins: int = BINS) -> float:
    """The :func:`expected_calibration_error` that these scores would show on average if they were the whole truth.

    By consistency resampling (Broecker and Smith, "Increasing the reliability of reliability diagrams", 2007, section
    3): each ticket right with the probability stated. The same scores give the same figure.
    """
    stated = np.asarray(probabilities, dtype=np.float64)
    if not len(stated):
        return 0.0
    draws = np.random.default_rng(0).random((RESAMPLED, len(stated))) < stated
    return float(_binned_error(stated, draws.astype(np.float64), bins).mean())


def auroc(scores: Sequence[float], right: Sequence[bool]) -> float | None:
    """The probability that a right answer is scored above a wrong one, an equal score counted as half; 0 to 1.

    Hanley and McNeil, "The meaning and use of the area under a ROC curve" (1982): the Mann-Whitney statistic over the
    number of pairs. None where all are right, or none is.
    """
    is_right = np.asarray(right, dtype=bool)
    count, wrong = int(is_right.sum()), int((~is_right).sum())
    if not count or not wrong:
        return None
    _, place, sizes = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[place]  # equal scores share the mean of their ranks
    return float((ranks[is_right].sum() - count * (count + 1) / 2) / (count * wrong))


def coverage_at(scores: Sequence[float], right: Sequence[bool], accuracy: float) -> float:
    """The largest share of tickets, taken from the surest down, of which at least ``accuracy`` are right; 0 to 1.

    El-Yaniv and Wiener, "On the foundations of noise-free selective classification" (2010): the risk-coverage curve,
    read at a risk. Tickets of the same score are taken together or not at all, as a threshold would.
    """
    if not len(scores):
        return 0.0
    values, place, sizes = np.unique(
        -np.asarray(scores, dtype=np.float64), return_inverse=True, return_counts=True
    )  # the surest first
    taken = np.cumsum(sizes)
    rights = np.cumsum(np.bincount(place, weights=np.asarray(right, dtype=np.float64), minlength=len(values)))
    enough = np.flatnonzero(rights >= accuracy * taken - ROUNDING)
    return float(taken[enough[-1]] / len(place)) if len(enough) else 0.0


def bin_of(probability: float, bins: int = BINS) -> int:
    """Which of ``bins`` of equal width a score falls into, from 0; each has its lower end, the last both."""
    return min(floor(probability * bins), bins - 1)


def _binned_error(stated: Floats, right: Floats, bins: int) -> Floats:
    """For each row of ``right`` its error; :param right: 1 or 0, a column per ticket."""
    bin_numbers = [bin_of(probability, bins) for probability in stated.tolist()]
    members = np.zeros((len(stated), bins))
    members[np.arange(len(stated)), bin_numbers] = 1.0
    gaps: Floats = np.abs((right - stated) @ members).sum(axis=1) / len(stated)
    return gaps
