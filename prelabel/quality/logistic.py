"""Logistic regression that only ever takes a feature for a good sign, and that few cases cannot lead astray.

Weights are those most probable a posteriori. Each feature is brought to mean 0 and deviation 1, and its weight has a
normal prior of mean 0 and deviation 1, the generic weakly informative one (Gelman et al., "A weakly informative default
prior distribution for logistic and other regression models", 2008, scale first; Stan's prior choice recommendations).
Two cases are added at the features' means, one right and one wrong: Laplace's rule of succession, which keeps the
intercept finite where all cases are alike (data augmentation priors: Greenland and Mansournia, "Penalization, bias
reduction, and default priors in logistic and related categorical and survival regressions", 2015). None of these
numbers was fitted to anything. The optimum is unique and found from the same start: fitting is deterministic.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

PRIOR_DEVIATION = 1.0
SMALLEST_DEVIATION = 1e-9
"""Of a feature that tells cases apart; one below gets no weight."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Logistic:
    """``1 / (1 + exp(-(intercept + features @ weights)))``, of features as they come."""

    weights: tuple[float, ...]
    intercept: float

    def probabilities(self, features: Floats) -> Floats:
        """:param features: a row per case."""
        return expit(features @ np.array(self.weights) + self.intercept)


def fit_logistic(features: Floats, right: npt.NDArray[np.bool_], is_good_sign: npt.NDArray[np.bool_]) -> Logistic:
    """:param features: a row per case, at least one; finite.

    :param is_good_sign: for each column whether its weight may not be negative (as in Breiman, "Stacked regressions",
        1996): what says more never lowers the probability.
    """
    means, deviations = features.mean(axis=0), features.std(axis=0)
    deviations[deviations < SMALLEST_DEVIATION] = np.inf
    scaled = np.vstack([(features - means) / deviations, np.zeros((2, features.shape[1]))])
    outcome = np.concatenate([right, [True, False]]).astype(np.float64)

    def loss(values: Floats) -> tuple[float, Floats]:
        weights, logits = values[:-1], scaled @ values[:-1] + values[-1]
        residuals = expit(logits) - outcome
        penalty = weights / PRIOR_DEVIATION**2
        value = (np.logaddexp(0, logits) - outcome * logits).sum() + (weights * penalty).sum() / 2
        return float(value), np.append(residuals @ scaled + penalty, residuals.sum())

    bounds = [(0.0 if good else None, None) for good in is_good_sign.tolist()] + [(None, None)]
    found = minimize(loss, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds).x
    weights = found[:-1] / deviations
    return Logistic(tuple(weights.tolist()), float(found[-1] - weights @ means))


def expit(logits: Floats) -> Floats:
    """The inverse of the logit; finite for every finite number."""
    found: Floats = 0.5 * (1.0 + np.tanh(0.5 * logits))
    return found
