"""A run's batches at the provider: found, cancelled and removed there with all their files, whoever has made them.

Each step may be the last of a process that is killed, and the next one takes it from there: a batch that was kept
without an id is found by its name, or was never made; one that Redis does not know of is a stray, and goes, too.
Nothing here needs the project as it stands; ``batch_reading`` reads what a batch has answered.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from prelabel.errors import LLMBatchUnknown, LLMError, LLMHasNoBatches, LLMUnavailable
from prelabel.llm.batch_api import KEPT_S
from prelabel.llm.batches import Batch, Status
from prelabel.runs.provider import Provider
from prelabel.store.batches import KeptBatch, KeptBatches
from prelabel.store.ledger import Claim
from prelabel.store.run import Run

log = logging.getLogger(__name__)


class Finder:
    """Tells how a kept batch stands at the provider; needs nothing but the run's settings."""

    def __init__(self, provider: Provider, kept: KeptBatches, claim: Claim) -> None:
        self._provider = provider
        self._kept = kept
        self._claim = claim
        self.failed: set[KeptBatch] = set()
        """Batches that nothing can be done about at present."""
        self.is_away = False
        """Whether the provider did not answer, so that it is not worth asking about the others."""

    def find(self, batch: KeptBatch) -> Batch | None:
        """None if there is no such batch, which is dropped then: its tasks wait again.

        :raises LLMError: that is not known.
        """
        try:
            found = self._look(batch)
        except LLMHasNoBatches:
            self._kept.drop(self._claim, batch)
            raise
        if found is None:
            self._kept.drop(self._claim, batch)
            return None
        stands = replace(batch, batch_id=found.id, answered=found.completed, expires_at=found.expires_at)
        if stands != batch:
            self._kept.update(self._claim, stands)
        return found

    def cancel(self, found: Batch) -> None:
        """Have the provider cancel it, unless it is at that."""
        if found.status is not Status.CANCELLING:
            self._provider.cancel(found.id)

    def all(self) -> list[KeptBatch]:
        return self._kept.all()

    def has_strays(self, run: Run) -> bool:
        """Whether the provider is at batches of a run that has none any more; their files go, read or not.

        There are some where Redis was killed and has lost the second in which they were kept; what they ask was asked
        again. From now on they are kept, to be cancelled.
        """
        since = datetime.fromisoformat(run.started_at).timestamp()
        under_way = False
        for found in self._provider.made(f"{run.id}-", since):
            if found.status.has_ended:
                self._provider.cleanup(found)
            else:
                self._kept.add_stray(found.id, time.time())
                under_way = True
        return under_way

    @contextmanager
    def tolerating(self, batch: KeptBatch) -> Iterator[None]:
        """A block in which the provider may do what it likes: a batch is left as it is then, or dropped where the
        provider has long deleted it.
        """
        try:
            yield
        except LLMError as error:
            log.warning("batch %s of %s is left as it is: %s", batch.batch_id, batch.name, error)
            self.failed.add(batch)
            self.is_away = isinstance(error, LLMUnavailable)
            if batch.kept_at + KEPT_S < time.time():
                self._kept.drop(self._claim, batch)

    def remove(self, batch: KeptBatch, found: Batch) -> None:
        """Delete its files, then drop it.

        :raises LLMError: some may still be there.
        """
        self._provider.cleanup(found)
        self._kept.drop(self._claim, batch)

    def _look(self, batch: KeptBatch) -> Batch | None:
        try:
            if batch.batch_id:
                return self._provider.poll(batch.batch_id)
            found = self._provider.find(batch.name, batch.kept_at)
        except LLMBatchUnknown as error:
            log.warning("batch %s of %s is gone: %s", batch.batch_id, batch.name, error)
            return None
        if found is None:
            self._provider.cleanup_input(batch.name)
        return found


def wind_up(finder: Finder, close: Callable[[KeptBatch, Batch], None], *, cancels: bool) -> bool:
    """``close`` every batch that has ended; whether none is left.

    :param cancels: the provider is to cancel the others, and is looked at once more. Those that it has not cancelled by
        then are left to the next who calls, like those of which it does not tell.
    """
    if not _close_ended(finder, close, cancels=cancels):
        _close_ended(finder, close, cancels=cancels)
    return not finder.all()


def _close_ended(finder: Finder, close: Callable[[KeptBatch, Batch], None], *, cancels: bool) -> bool:
    """Whether nothing is being cancelled."""
    is_over = True
    for batch in finder.all():
        if finder.is_away:
            break
        with finder.tolerating(batch):
            found = finder.find(batch)
            if found and found.status.has_ended:
                close(batch, found)
            elif found and (cancels or batch.is_unwanted):
                is_over = False
                finder.cancel(found)
    return is_over
