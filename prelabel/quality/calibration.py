"""Scores that keep their word: a calibrator for each stage that makes labels, frozen as a few JSON numbers.

A ticket that stopped at the weak model has no signal of an LLM, and those that went on are the harder ones: so each
stage has its own. It has a second one for labels that were given before there were enough reviews for a weak model: an
average in the place of what that would have said makes scores too high, so the same evidence is learned from without
(reduced models: Saar-Tsechansky and Provost, "Handling missing values when applying classification models", 2007).
Read ``signals``, then ``calibrator``; how good the scores are, ``metrics`` measures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prelabel.core.signals import NEIGHBORS, STAGES, WEAK, Evidence, Signals, best_single, given
from prelabel.quality.calibrator import MIN_EVIDENCE, Calibrator, UnknownCalibration
from prelabel.quality.metrics import auroc, coverage_at, expected_calibration_error, noise_floor


@dataclass(frozen=True, slots=True)
class Score:
    """A prediction's score, 0 to 1; not calibrated, it is a signal as it came."""

    value: float
    is_calibrated: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """All stages' calibrators; a stage without one has too little evidence."""

    calibrators: Mapping[str, Calibrator] = field(default_factory=dict)
    early: Mapping[str, Calibrator] = field(default_factory=dict)
    """For labels without a weak model's word, where all the evidence has one."""

    @classmethod
    def fit(cls, evidence: Mapping[str, Sequence[Evidence]]) -> "Calibration":
        """:param evidence: by stage."""
        found = cls()
        for stage in STAGES:
            found = found.updated(cls.of_stage(stage, evidence.get(stage, ())))
        return found

    @classmethod
    def of_stage(
        cls, stage: str, evidence: Sequence[Evidence], early: Sequence[Evidence] | None = None
    ) -> "Calibration":
        """Of a single one.

        :param early: what the evidence would be without any reviews; by default the same labels, with nothing that
            reviewed tickets say of them.
        """
        calibrator = Calibrator.fit(evidence)
        if calibrator is None:
            return cls()
        if any(given(each.signals, WEAK) is None for each in evidence):
            return cls({stage: calibrator})
        before = Calibrator.fit([_without_reviews(each) for each in evidence] if early is None else early)
        return cls({stage: calibrator}, {stage: before} if before else {})

    def updated(self, other: "Calibration") -> "Calibration":
        """With the stages that ``other`` has calibrators of as they are there."""
        kept = {stage: each for stage, each in self.early.items() if stage not in other.calibrators}
        return Calibration({**self.calibrators, **other.calibrators}, {**kept, **other.early})

    def score(self, stage: str, signals: Signals) -> Score:
        """Of a label that ``stage`` made; the best single signal where there is no calibrator.

        :raises KeyError: there is no such stage.
        """
        is_early = stage in self.early and given(signals, WEAK) is None
        if calibrator := (self.early if is_early else self.calibrators).get(stage):
            return Score(calibrator.probability(signals), is_calibrated=True)
        return Score(best_single(signals, STAGES[stage]), is_calibrated=False)

    def to_json(self) -> dict[str, Any]:
        """Numbers that :meth:`from_json` makes the same calibration of."""
        return {"stages": _told(self.calibrators), "early": _told(self.early)}

    @classmethod
    def from_json(cls, found: Any) -> "Calibration":
        """:raises UnknownCalibration: it is nothing that :meth:`to_json` writes."""
        if not isinstance(found, dict) or found.keys() != {"stages", "early"}:
            raise UnknownCalibration(f"a calibration's fields: {found!r}")
        return cls(_read(found["stages"]), _read(found["early"]))


@dataclass(frozen=True, slots=True)
class Quality:
    """How good scores are, on evidence that they were not fitted to."""

    evidence: int
    accuracy: float
    calibration_error: float
    noise_floor: float
    auroc: float | None
    coverage_at_95: float

    @classmethod
    def measure(cls, scores: Sequence[float], right: Sequence[bool]) -> "Quality | None":
        """None of too little evidence for a calibrator."""
        if len(scores) < MIN_EVIDENCE:
            return None
        return cls(
            len(scores),
            sum(right) / len(right),
            expected_calibration_error(scores, right),
            noise_floor(scores),
            auroc(scores, right),
            coverage_at(scores, right, 0.95),
        )


def _without_reviews(evidence: Evidence) -> Evidence:
    told = {name: value for name, value in evidence.signals.items() if name not in {WEAK, NEIGHBORS}}
    return Evidence(told, evidence.right)


def _told(calibrators: Mapping[str, Calibrator]) -> dict[str, Any]:
    return {stage: calibrator.to_json() for stage, calibrator in calibrators.items()}


def _read(found: Any) -> dict[str, Calibrator]:
    if not isinstance(found, dict) or not found.keys() <= STAGES.keys():
        raise UnknownCalibration(f"a calibration's stages: {found!r}")
    return {stage: Calibrator.from_json(each) for stage, each in found.items()}
