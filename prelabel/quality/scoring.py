"""All that evidence has taught of a project, frozen in a generation: what scores are made of, and what they keep to.

``deciding`` goes by it, ``fitting`` learns it. Scores are made anew from kept grounds by it alone: no LLM is asked.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from prelabel.core.signals import NOTHING_SPEAKS_FOR_IT, STAGES, Grounds
from prelabel.quality.calibration import Calibration, Score
from prelabel.quality.calibrator import UnknownCalibration
from prelabel.quality.fusion import Ensemble
from prelabel.quality.intervals import Tally
from prelabel.quality.rule_record import RuleRecord

DIGITS = 4
"""Of a ticket's score: more say nothing."""
VERSION = 1
"""Of the JSON; other versions are refused."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Of one control; ``Learned()`` is what there is before evidence."""

    calibration: Calibration = field(default_factory=Calibration)
    ensemble: Ensemble = field(default_factory=Ensemble)
    rules: RuleRecord = field(default_factory=RuleRecord)
    stages: Mapping[str, Tally] = field(default_factory=dict)
    """How many of the tasks each stage of the project's method had the last word on, and how many were right."""

    def to_json(self) -> dict[str, Any]:
        """Numbers that :meth:`from_json` makes the same of."""
        return {
            "calibration": self.calibration.to_json(),
            "ensemble": self.ensemble.to_json(),
            "rules": _counts(self.rules.tallies),
            "proven": sorted(self.rules.proven),
            "stages": _counts(self.stages),
        }

    @classmethod
    def from_json(cls, found: Any) -> "Learned":
        """:raises UnknownCalibration: it is nothing that :meth:`to_json` writes."""
        _require(isinstance(found, dict), "a control", found)
        _require(found.keys() == {"calibration", "ensemble", "rules", "proven", "stages"}, "a control's fields", found)
        rules, proven, stages = _tallies(found["rules"]), found["proven"], _tallies(found["stages"])
        _require(isinstance(proven, list) and set(map(str, proven)) <= rules.keys(), "proven rules", proven)
        _require(stages.keys() <= STAGES.keys(), "stages", stages)
        return cls(
            Calibration.from_json(found["calibration"]),
            Ensemble.from_json(found["ensemble"]),
            RuleRecord(rules, frozenset(map(str, proven))),
            stages,
        )


@dataclass(frozen=True, slots=True)
class Scoring:
    """Of all controls; ``Scoring()`` is what there is before evidence."""

    evidence: int = 0
    """Tasks labelled blind that it was learned from."""
    controls: Mapping[str, Learned] = field(default_factory=dict)
    agreement: float | None = None
    """The share of tasks on which people who labelled them blind agree, 0 to 1: more than that nobody can reach."""

    def of(self, control: str) -> Learned:
        """What is known of ``control``."""
        return self.controls.get(control) or Learned()

    def score(self, control: str, grounds: Grounds) -> Score:
        """Of labels of ``control``."""
        return self.of(control).calibration.score(grounds.stage, grounds.signals)

    def rescored(self, controls: Collection[str], grounds: Mapping[str, Grounds]) -> Score | None:
        """Of a prediction, anew, from what was kept of it; None where nothing was of one of its controls.

        :param controls: those that it has labels of.
        :param grounds: by control.
        """
        if not grounds.keys() >= set(controls):
            return None
        return together([self.score(control, grounds[control]) for control in controls])

    def to_json(self) -> str:
        """Some hundred bytes for each control and stage."""
        controls = {name: learned.to_json() for name, learned in self.controls.items()}
        told = {"version": VERSION, "evidence": self.evidence, "agreement": self.agreement, "controls": controls}
        return json.dumps(told, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Scoring":
        """:raises UnknownCalibration: it is nothing that :meth:`to_json` writes."""
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnknownCalibration(f"a scoring that is no JSON: {error}") from error
        _require(isinstance(found, dict) and found.get("version") == VERSION, "version", found)
        _require(found.keys() == {"version", "evidence", "agreement", "controls"}, "fields", found)
        evidence, agreement, controls = found["evidence"], found["agreement"], found["controls"]
        _require(_is_count(evidence), "evidence", evidence)
        _require(agreement is None or _is_share(agreement), "agreement", agreement)
        _require(isinstance(controls, dict), "controls", controls)
        return cls(evidence, {name: Learned.from_json(each) for name, each in controls.items()}, agreement)


def together(scores: Sequence[Score]) -> Score:
    """A ticket's, of its controls' scores: the probability that all are right, taken as independent.

    Where one is no probability, the product would be none either: the lowest, by which a person looks at it.
    """
    if scores and all(score.is_calibrated for score in scores):
        return Score(round(prod(score.value for score in scores), DIGITS), is_calibrated=True)
    lowest = min((score.value for score in scores), default=NOTHING_SPEAKS_FOR_IT)
    return Score(round(lowest, DIGITS), is_calibrated=False)


def _counts(tallies: Mapping[str, Tally]) -> dict[str, list[int]]:
    return {name: [tally.right, tally.judged] for name, tally in tallies.items()}


def _tallies(found: Any) -> dict[str, Tally]:
    _require(isinstance(found, dict) and all(map(_is_tally, found.values())), "counts", found)
    return {name: Tally(*counts) for name, counts in found.items()}


def _is_tally(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_count, value)) and value[0] <= value[1]


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _require(is_met: bool, what: str, found: Any) -> None:
    if not is_met:
        raise UnknownCalibration(f"a scoring's {what}: {found!r}")
