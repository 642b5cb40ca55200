"""Several methods' probabilities of each label to one: the logarithmic opinion pool.

Logarithms (for a multiple choice: logits, label by label) are added with a weight per method, and normalized (Genest
and Zidek, "Combining probability distributions: a critique and an annotated bibliography", 1986, section 3; labels as
the alternatives of McFadden's conditional logit, 1974, when the weights are learned). Weights that sum to more than 1
say that the methods know different things. They are never negative and have a normal prior of deviation 1 around what
they weigh before anything is known: so wide that a few dozen cases decide, so narrow that a method that hardly ever
votes gets nothing odd.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from prelabel.quality.logistic import expit

PRIOR_DEVIATION = 1.0
CERTAINTY = 1e-6
"""How near to 0 or 1 a method's probability counts as, so that none can rule a label out by itself."""

Floats = npt.NDArray[np.float64]


def opinions(probabilities: Floats, *, multiple: bool) -> Floats:
    """What is added up: logarithms of a single choice's probabilities, logits of a multiple choice's."""
    inside = np.clip(probabilities, CERTAINTY, 1 - CERTAINTY)
    found: Floats = np.log(inside) - np.log1p(-inside) if multiple else np.log(inside)
    return found


def pooled(opinions_by_method: Floats, weights: Floats, *, multiple: bool) -> Floats:
    """Each label's probability; :param opinions_by_method: a row per method, a column per label."""
    sums = weights @ opinions_by_method
    found: Floats = expit(sums) if multiple else softmax(sums)
    return found


def fit_weights(cases: Floats, truths: npt.NDArray[np.bool_], prior: Floats, *, multiple: bool) -> Floats:
    """The weights that are most probable a posteriori; deterministic.

    :param cases: opinions by case, method and label; 0 for all labels where a method has none.
    :param truths: by case and label, whether it is right; of a single choice exactly one.
    :param prior: the mean of the prior, by method.
    """
    loss = _multiple_loss if multiple else _single_loss

    def penalized(weights: Floats) -> tuple[float, Floats]:
        value, gradient = loss(cases, truths, weights)
        off = (weights - prior) / PRIOR_DEVIATION
        return value + float(off @ off) / 2, gradient + off / PRIOR_DEVIATION

    bounds = [(0.0, None)] * len(prior)
    found: Floats = minimize(penalized, prior, jac=True, method="L-BFGS-B", bounds=bounds).x
    return found


def _single_loss(cases: Floats, truths: npt.NDArray[np.bool_], weights: Floats) -> tuple[float, Floats]:
    sums = np.einsum("cml,m->cl", cases, weights)
    totals = logsumexp(sums, axis=1, keepdims=True)
    residuals = np.exp(sums - totals) - truths
    return float((totals[:, 0] - sums[truths]).sum()), np.einsum("cml,cl->m", cases, residuals)


def _multiple_loss(cases: Floats, truths: npt.NDArray[np.bool_], weights: Floats) -> tuple[float, Floats]:
    sums = np.einsum("cml,m->cl", cases, weights)
    value = (np.logaddexp(0, sums) - truths * sums).sum()
    return float(value), np.einsum("cml,cl->m", cases, expit(sums) - truths)
