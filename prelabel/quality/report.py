"""How good each method is on a project's evidence, and ``auto`` stage by stage: figures for people.

Scores are those of calibrators that have not seen the task; ``fitting`` tries the methods, ``metrics`` measures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prelabel.config import Method
from prelabel.core.types import Choices
from prelabel.quality.calibration import Quality
from prelabel.quality.fitting import ControlEvidence, EvidenceCase, Judged, tally
from prelabel.quality.intervals import Tally
from prelabel.quality.table import between, table

METHODS: Sequence[Method] = ("rules", "weak_model", "llm", "ensemble", "auto")

_HEADER = ("decides", "share", "right", "95% sure", "error", "floor", "AUROC", "at 95%")
_LEGEND = """\
decides   tasks that the method, or the stage of auto, labels; share: of all
right     share of these that people label the same; 95% sure: within these
error     how far scores are from the share that is right (calibration error)
floor     error that chance alone would make
AUROC     how well scores tell right from wrong: 0.5 not at all, 1 always
at 95%    share of what it labels that could be accepted with 95% of it right"""


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """What a method, or one stage of ``auto``, comes to on a control's evidence."""

    control: str
    method: Method
    stage: str
    """Empty for all of the method."""
    evidence: int
    """Tasks."""
    tally: Tally
    """Of those that it decides; the others are a person's."""
    quality: Quality | None
    """Of its scores; None of too few."""

    @property
    def share(self) -> float:
        """Of the tasks that it decides, 0 to 1."""
        return self.tally.judged / self.evidence

    def as_json(self) -> dict[str, Any]:
        low, high = self.tally.interval
        told = {"control": self.control, "method": self.method, "stage": self.stage, "evidence": self.evidence}
        counted = {"share": self.share, **asdict(self.tally), "accuracy": self.tally.share}
        scores = asdict(self.quality) if self.quality else None
        return {**told, **counted, "accuracy_low": low, "accuracy_high": high, "scores": scores}


@dataclass(frozen=True, slots=True)
class QualityReport:
    """Of all controls, in the config's order."""

    evidence: Mapping[str, int]
    """Tasks labelled blind, by control."""
    figures: tuple[MethodFigures, ...]
    """Of the methods that decide anything."""
    agreement: float | None = None
    """The share of tasks on which people who labelled them blind agree, 0 to 1, where it is known."""

    def as_json(self) -> dict[str, Any]:
        figures = [each.as_json() for each in self.figures]
        return {"evidence": dict(self.evidence), "agreement": self.agreement, "figures": figures}

    def __str__(self) -> str:
        """A table for each control, not wider than 80 columns as a rule, and what the columns mean."""
        counts = ", ".join(f"{count} of {control}" for control, count in self.evidence.items())
        agreed = "" if self.agreement is None else f"; those who label blind agree on {self.agreement:.1%}"
        tables = [
            "\n".join(table([(control, *_HEADER), *map(_row, figures)]))
            for control in self.evidence
            if (figures := [each for each in self.figures if each.control == control])
        ]
        counted = f"tasks labelled blind: {counts or 'none'}{agreed}"
        return "\n\n".join((counted, *tables, *([_LEGEND] if tables else [])))


def measure_quality(
    questions: Sequence[Choices], cases: Sequence[EvidenceCase], *, agreement: float | None = None
) -> QualityReport:
    """The figures of all methods; the fusing of 500 tasks of 77 labels takes some seconds.

    :param agreement: the share of tasks on which people who labelled them blind agree, where it is known.
    """
    evidence = {question.name: ControlEvidence(question, cases) for question in questions}
    figures = (
        each for control, tasks in evidence.items() for method in METHODS for each in _of(control, tasks, method)
    )
    return QualityReport({control: len(tasks) for control, tasks in evidence.items()}, tuple(figures), agreement)


def _of(control: str, evidence: ControlEvidence, method: Method) -> list[MethodFigures]:
    trial = evidence.trial(method)
    parts = {"": trial.judged, **(trial.by_stage() if method == "auto" else {})}
    return [
        MethodFigures(control, method, stage, len(evidence), tally(part), _quality(part))
        for stage, part in parts.items()
        if part
    ]


def _quality(judged: Sequence[Judged]) -> Quality | None:
    return Quality.measure([each.score for each in judged], [each.right for each in judged])


def _row(figures: MethodFigures) -> tuple[str, ...]:
    counted, quality = figures.tally, figures.quality
    measured = ("", "", "", "")
    if quality:
        told = "" if quality.auroc is None else f"{quality.auroc:.3f}"
        error, floor = f"{quality.calibration_error:.3f}", f"{quality.noise_floor:.3f}"
        measured = (error, floor, told, f"{quality.coverage_at_95:.1%}")
    return (
        f"  {figures.stage}" if figures.stage else figures.method,
        str(counted.judged),
        f"{figures.share:.1%}",
        f"{counted.right / counted.judged:.1%}",
        between(counted.interval),
        *measured,
    )
