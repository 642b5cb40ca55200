"""A batch at a provider, as it stands: from OpenAI's object to a value."""

from dataclasses import dataclass
from enum import StrEnum

import openai.types

from prelabel.errors import LLMError, LLMUnavailable
from prelabel.llm.refusals import Refusal

NAME, BY = "prelabel", "prelabel-capabilities"
"""Of a batch's metadata: what we call it, and what its requests were made by."""


class Status(StrEnum):
    """OpenAI's states."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    """Every row has been tried, which is not to say answered."""
    FAILED = "failed"
    """Nothing was asked."""
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def has_ended(self) -> bool:
        return self in {Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELLED}


@dataclass(frozen=True, slots=True)
class Batch:
    """``total`` and the other counts are of requests, and 0 until the provider knows them."""

    id: str
    name: str
    """By which its maker finds it again; empty for somebody else's."""
    status: Status
    total: int = 0
    completed: int = 0
    failed: int = 0
    created_at: float = 0.0
    """Unix seconds, by the provider's clock."""
    expires_at: float | None = None
    input_file: str | None = None
    output_file: str | None = None
    error_file: str | None = None
    by: str = ""
    """The capabilities that its requests were made by, packed."""
    problem: LLMError | None = None
    """Why it failed: ``LLMQueueFull`` if the same batch would be taken later, else ``LLMRefusesRequest``."""


def read_batch(found: object) -> Batch:
    """
    :raises LLMUnavailable: it is no batch.
    """
    if not isinstance(found, openai.types.Batch) or not isinstance(found.id, str):
        raise LLMUnavailable("the LLM's server sent what is no batch: check OPENAI_BASE_URL")
    status = Status(found.status) if found.status in set(Status) else Status.IN_PROGRESS
    counts, metadata = found.request_counts, found.metadata or {}
    return Batch(
        id=found.id,
        name=metadata.get(NAME, ""),
        status=status,
        total=(counts.total or 0) if counts else 0,
        completed=(counts.completed or 0) if counts else 0,
        failed=(counts.failed or 0) if counts else 0,
        created_at=float(found.created_at or 0),
        expires_at=found.expires_at,
        input_file=found.input_file_id or None,
        output_file=found.output_file_id or None,
        error_file=found.error_file_id or None,
        by=metadata.get(BY, ""),
        problem=_problem(found) if status is Status.FAILED else None,
    )


def _problem(found: openai.types.Batch) -> LLMError:
    errors = (found.errors.data if found.errors else None) or []
    first = errors[0] if errors else None
    said = {"code": first.code, "message": first.message} if first else {}
    return Refusal.of(400, said, {}).as_batch_failure(first.line if first else None)
