"""A provider's Batch API as a run uses it, from threads: one call after another, each with an end."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from prelabel.bootstrap import Services
from prelabel.config import Settings
from prelabel.errors import LLMUnavailable
from prelabel.llm.batch_api import BatchClient
from prelabel.llm.batches import Batch

T = TypeVar("T")

CALL_S = 1200.0
"""For one call with its retries; a large file takes minutes."""


@dataclass(frozen=True, slots=True)
class Provider:
    """That of the main model that ``settings`` name."""

    work: Services
    settings: Settings

    def run(self, step: Callable[[BatchClient], Coroutine[Any, Any, T]]) -> T:
        """:raises LLMError: it was not done, or is not known to be."""
        try:
            return self.work.llm.run_batches(self.settings, step, CALL_S)
        except TimeoutError:
            raise LLMUnavailable(f"the LLM's server has not done with a batch within {CALL_S:g} s") from None

    def keeps_to_limits(self) -> bool:
        return self.run(lambda batches: batches.keeps_to_limits())

    def find(self, name: str, since: float) -> Batch | None:
        """See :meth:`prelabel.llm.batch_api.BatchClient.find`, and so on."""
        return self.run(lambda batches: batches.find(name, since))

    def made(self, prefix: str, since: float) -> list[Batch]:
        return self.run(lambda batches: batches.made(prefix, since))

    def poll(self, batch_id: str) -> Batch:
        return self.run(lambda batches: batches.poll(batch_id))

    def cancel(self, batch_id: str) -> Batch:
        return self.run(lambda batches: batches.cancel(batch_id))

    def cleanup(self, batch: Batch) -> None:
        self.run(lambda batches: batches.cleanup(batch))

    def cleanup_input(self, name: str) -> None:
        self.run(lambda batches: batches.cleanup_input(name))
