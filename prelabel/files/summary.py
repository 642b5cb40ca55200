"""What came of a file, in numbers."""

from dataclasses import asdict, dataclass, field
from typing import Any

from prelabel.core.types import Usage

MOST_LINES = 10
"""Line numbers told of one reason."""


@dataclass(slots=True)
class Summary:
    """What came of a file; ``total`` is the sum of the five counts of rows."""

    model_version: str
    reviewed: int = 0
    labeled: int = 0
    abstained: int = 0
    failed: int = 0
    malformed: int = 0
    known: int = 0
    """Answers of an earlier call."""
    is_written: bool = False
    stopped: str = ""
    """Why not all were asked."""
    usage: Usage = field(default_factory=Usage)
    errors: dict[str, list[int]] = field(default_factory=dict)
    """The lines for which each reason holds."""

    @property
    def total(self) -> int:
        return self.reviewed + self.labeled + self.abstained + self.failed + self.malformed

    @property
    def cost_per_task(self) -> float | None:
        """US dollars for each row that was answered by this call; None if that is unknown, or if there was none."""
        answered = self.labeled + self.abstained - self.known
        return None if self.usage.cost is None or answered <= 0 else self.usage.cost / answered

    @property
    def is_complete(self) -> bool:
        return not self.failed and not self.malformed

    def as_json(self) -> dict[str, Any]:
        errors = [
            {"reason": reason, "count": len(lines), "lines": lines[:MOST_LINES]}
            for reason, lines in self.errors.items()
        ]
        names = ("model_version", "total", "reviewed", "labeled", "abstained", "failed", "malformed", "known")
        counts = {name: getattr(self, name) for name in names}
        used = {**asdict(self.usage), "cost_per_task": self.cost_per_task}
        return {**counts, "is_written": self.is_written, **used, "errors": errors}
