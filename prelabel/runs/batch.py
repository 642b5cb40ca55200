"""Batch mode: a run's tasks through the provider's Batch API, at half the price and within a day, and the rest live.

One more part of a run that one process holds at a time. Its holder looks at all batches once (``batch_reading``),
submits what waits (``batch_sending``), says when somebody is to look again, and leaves: no worker is held while the
provider takes its time. There are two rounds: what the first has left that is likely to pass goes into a second one.
Then what is left at all is asked live, shard by shard, as in a run that is live from the start.

Where the provider does not answer, that is waited out for an hour. ``leftovers`` looks after what a run has at the
provider when it is over.
"""

import time
from collections.abc import Callable

from prelabel.errors import LLMQueueFull, LLMUnavailable
from prelabel.runs.batch_finding import wind_up
from prelabel.runs.batch_reading import BatchReader
from prelabel.runs.batch_sending import BatchSender, Full
from prelabel.runs.gate import Spent
from prelabel.runs.lease import Leases
from prelabel.runs.opened import OpenRun
from prelabel.store.batches import KeptBatches
from prelabel.store.ledger import Claim
from prelabel.store.run import Run

SOONEST_S, LATEST_S = 30.0, 300.0
"""Between looks at batches: a quarter of what the newest has taken so far, within these."""
AWAY_S = 3600.0
"""For how long the provider may be away until a run gives up."""
ROUNDS = 2
USUAL_TOKENS, LEAST_TOKENS = 2_000_000, 100_000
"""Of a batch, where the provider's queue is full: half of that at first, and never less than the other."""


class Batching:
    """What it takes to have one run's tasks answered in batches.

    :param pause: waits so many seconds; raises where nothing more is to be begun.
    """

    def __init__(self, run: OpenRun, leases: Leases, *, pause: Callable[[float], None]) -> None:
        self._run = run
        self._leases = leases
        self._pause = pause
        self._kept = run.work.runs.batches(run.run_id)

    def is_due(self, run: Run) -> bool:
        """Whether there is anything to look at."""
        return run.is_batching and not run.wanted and run.poll_at <= time.time()

    def is_to_be_called_off(self, run: Run) -> bool:
        """Whether the provider has batches that nobody wants any more."""
        return run.wanted == "cancel" and not run.is_called_off and bool(self._kept.all())

    def attend(self, claim: Claim) -> None:
        """Look at every batch, submit what can be, and say when to look again; or have the rest asked live.

        :raises Stopped: the rest of the run would fare no better.
        :raises LLMError: nor would it, as the provider says.
        :raises Lost: somebody else is at it.
        """
        asked_to_wait_s = 0.0
        try:
            self._move_on(claim)
            self._run.update(provider_away_since="")
        except LLMQueueFull as error:
            self._hold_back(error)
        except LLMUnavailable as error:
            self._tolerate(error)
            asked_to_wait_s = min(LATEST_S, error.retry_after_s)
        if self._run.now().is_batching:
            self._run.update(poll_at=time.time() + max(pause_s(self._kept), asked_to_wait_s))

    def call_off(self, claim: Claim) -> None:
        """Have the provider cancel all batches; what it has answered by then is kept. ``leftovers`` sees to the rest.

        :raises Lost: somebody else is at it.
        """
        reader = BatchReader(self._run, self._kept, claim, pause=time.sleep)
        wind_up(reader.finder, reader.close, cancels=True)
        self._run.update(is_called_off="1", poll_at="")

    def _move_on(self, claim: Claim) -> None:
        """As far as it goes without waiting."""
        reader = BatchReader(self._run, self._kept, claim, pause=self._pause)
        while True:
            run = self._run.now()
            is_asking = run.batch_round <= ROUNDS
            under_way = self._settle(reader, is_last=run.batch_round >= ROUNDS)
            if is_asking and not 0 < run.batches_full <= under_way:
                self._send(claim, run)
            if self._kept.all() or (is_asking and self._run.ledger.shards(unasked=True, most=1)):
                return
            if not is_asking:
                break
            is_again = run.batch_round < ROUNDS and self._kept.free_again(claim, self._run.ledger.shards())
            self._run.update(batch_round=ROUNDS if is_again else ROUNDS + 1)
        if reader.finder.has_strays(run):
            return
        left = self._kept.open_live(claim, self._run.ledger.shards())
        if left:
            self._run.tell("asked live", f"{left} tasks that no batch has answered")

    def _settle(self, reader: BatchReader, *, is_last: bool) -> int:
        """How many batches have not ended."""
        under_way, full = 0, None
        for batch in self._kept.all():
            self._pause(0)
            try:
                under_way += not reader.settle(batch, is_last=is_last)
            except LLMQueueFull as error:
                full = error
        if full:
            raise full
        return under_way

    def _send(self, claim: Claim, run: Run) -> None:
        """:raises Spent: there is no money for anything that waits, and none to come back."""
        sender = BatchSender(self._run, self._kept, self._leases, claim, pause=self._pause)
        try:
            sender.send_all(run.batch_tokens)
        except Full:
            under_way = len(self._kept.all())
            if not under_way:
                is_known = self._run.now().cost is not None
                raise Spent.of(self._run.options.max_cost, is_known=is_known) from None
            self._run.update(batches_full=under_way)
        else:
            self._run.update(batches_full="")

    def _hold_back(self, error: LLMQueueFull) -> None:
        """Submit no more until a batch of the run's has ended; where none is under way, smaller ones."""
        under_way = sum(bool(batch.batch_id) for batch in self._kept.all())
        self._run.update(batches_full=under_way)
        if not under_way:
            tokens = (self._run.now().batch_tokens or USUAL_TOKENS) // 2
            self._run.update(batch_tokens=max(LEAST_TOKENS, tokens))
        self._run.tell("waiting", str(error))

    def _tolerate(self, error: LLMUnavailable) -> None:
        """:raises LLMUnavailable: ``error``, after too long."""
        now = time.time()
        since = self._run.now().provider_away_since or now
        if now - since > AWAY_S:
            raise error
        self._run.update(provider_away_since=since)
        self._run.tell("waiting", str(error))


def pause_s(kept: KeptBatches) -> float:
    """Seconds until batches are to be looked at again."""
    newest = max((batch.kept_at for batch in kept.all()), default=time.time())
    return min(LATEST_S, max(SOONEST_S, (time.time() - newest) / 4))
