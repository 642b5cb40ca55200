"""Annotations and questions for tests of what reviews are good for."""

from dataclasses import replace

from prelabel.core.types import Annotation, Choices, Label, LabelSource


def question(*labels: str, name: str = "intent", multiple: bool = False, required: bool = False) -> Choices:
    offered = tuple(Label(label, label) for label in labels)
    return Choices(name, "text", offered, multiple=multiple, required=required)


INTENT = question("refund", "shipping", "other")
TAGS = question("vip", "angry", name="tags", multiple=True)
TONE = question("kind", "cross", name="tone")


def said(label: str | tuple[str, ...] = "refund", number: int = 1, task_id: int = 100, **more: object) -> Annotation:
    """Annotation ``number``, newer the higher that is, of a person of its own."""
    labels = (label,) if isinstance(label, str) else label
    plain = Annotation(
        number, task_id, "my card", {"intent": labels}, LabelSource.PERSON, updated_at=float(number), author=number
    )
    return replace(plain, **more)  # type: ignore[arg-type] # any field
