"""How sure a share is that was counted."""

from dataclasses import dataclass

from scipy.special import betaincinv


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of those whose truth is known were right."""

    right: int
    judged: int

    @property
    def share(self) -> float | None:
        return self.right / self.judged if self.judged else None

    @property
    def interval(self) -> tuple[float, float]:
        """In which the true share is, 95% sure (Clopper-Pearson)."""
        return clopper_pearson(self.right, self.judged)

    @property
    def expected(self) -> float:
        """That the next is right: Laplace's rule of succession."""
        return (self.right + 1) / (self.judged + 2)


def clopper_pearson(right: int, judged: int, confidence: float = 0.95) -> tuple[float, float]:
    """The least and the greatest true share at which ``right`` of ``judged`` is no surprise; 0 and 1 of none.

    Exact, so that the true share lies within at least as often as ``confidence`` says. Clopper and Pearson, "The use of
    confidence or fiducial limits illustrated in the case of the binomial", Biometrika 26 (1934), as quantiles of the
    beta distribution.
    """
    if not 0 <= right <= judged:
        raise ValueError(f"{right} of {judged} is no share")
    tail = (1 - confidence) / 2
    low = float(betaincinv(right, judged - right + 1, tail)) if right else 0.0
    high = float(betaincinv(right + 1, judged - right, 1 - tail)) if right < judged else 1.0
    return low, high
