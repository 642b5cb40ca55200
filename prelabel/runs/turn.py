"""One worker's turn at a run: whatever the run needs and nobody is at, in threads of its own, until it is over.

The turn's own thread does nothing but look: at what somebody has asked of the run, at what its threads have come to,
and at what there is to take. Read ``bulk`` for who takes turns, and when.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from threading import Event

from prelabel.bootstrap import Services
from prelabel.errors import LLMHasNoBatches, PrelabelError, StoreUnavailable, StudioError
from prelabel.runs import control
from prelabel.runs.batch import Batching
from prelabel.runs.crew import Crew, Halted
from prelabel.runs.estimate import estimate
from prelabel.runs.gate import Spent
from prelabel.runs.learn import learn
from prelabel.runs.lease import Leases
from prelabel.runs.opened import Moved, open_run
from prelabel.runs.outlasting import WITHIN_S
from prelabel.runs.patience import Patience
from prelabel.runs.plan import Planner
from prelabel.runs.shard import ShardLabeler
from prelabel.runs.stopping import stopping
from prelabel.runs.sweep import LIVE_PAUSE_S, sweep
from prelabel.runs.writing import Writer
from prelabel.store.ledger import BATCH, PLAN, SHARD_TASKS, WRITE, Claim, Lost
from prelabel.store.run import Run
from prelabel.store.runs import NoRun

log = logging.getLogger(__name__)

STUDIO_TIMEOUT_S = 600.0
"""For one answer of Label Studio's: an import into 55,000 tasks takes more than half a minute."""
LOOK_S = 0.1
"""Between looks at what there is to do."""
WRITER_LOOK_S = 0.25
CHECK_TIMEOUT_S = 5.0
"""For one answer to that: meanwhile nobody hears what is asked of the run."""
CHECKED_S = 2.0
"""Between looks whether the project's version is still the run's."""
AWAY_PAUSES_S = (1.0, 2.0, 3.0, 5.0)
AWAY_S = 120.0
"""For how long Label Studio may be away until a run gives up."""
SEEN_OFF_S = WITHIN_S
"""For how long a turn that is broken off waits for requests in flight."""
OWN_FAULT = "prelabel itself failed; the worker's log says at what"


def fail(work: Services, run_id: str, error: Exception) -> None:
    """Have a run fail, with the reason and what to do."""
    if isinstance(error, PrelabelError):
        log.warning("run %s failed: %s", run_id, error)
        is_final = isinstance(error, Moved | Spent | LLMHasNoBatches)
        cure = "" if is_final else f". Then: python -m prelabel retry {run_id}"
        why = f"{error}{cure}"
    else:
        log.error("run %s failed", run_id, exc_info=error)
        why = OWN_FAULT
    with suppress(PrelabelError):  # it is over already
        work.runs.ask(run_id, "fail", why)


class Turn:
    """:param ends: when it is over, of the monotonic clock.

    :param llm_pauses_s: before each further try of tickets whose LLM did not answer.
    """

    def __init__(
        self, work: Services, run_id: str, leases: Leases, *, ends: float, llm_pauses_s: Sequence[float]
    ) -> None:
        self._work = work
        self._run_id = run_id
        self._leases = leases
        self._ledger = work.runs.ledger(run_id)
        self._halt = Event()
        self._crew = Crew(leases)
        self._ends = ends
        self._llm_pauses_s = llm_pauses_s
        self._checked = time.monotonic()
        self._is_left = False
        """Whether what was written is in order, of a run that does not finish."""

    def take(self) -> None:
        """:raises PrelabelError: why the run cannot go on."""
        try:
            self._patiently(self._prepare, self._wait, lambda run: run.counts["requests"])
        except (Halted, Lost):
            return
        if self._open.options.dry_run:
            return
        try:
            while self._look():
                with stopping.interruptible():
                    time.sleep(LOOK_S)
        except Exception:
            self._halt.set()
            self._see_off()
            raise
        finally:
            self._halt.set()

    def _prepare(self) -> None:
        """Open the project; a dry run is all done here."""
        studio = self._work.studio(timeout_s=STUDIO_TIMEOUT_S)
        self._open = open_run(
            self._work,
            studio,
            self._run_id,
            self._leases,
            wait=partial(self._wait, LOOK_S),
            begin=lambda run, claim: learn(run, claim, self._is_wanted),
        )
        self._labeler = ShardLabeler(
            self._open,
            pauses_s=self._llm_pauses_s,
            pause=self._pause,
            goes_on=self._goes_on,
        )
        self._batching = Batching(self._open, self._leases, pause=self._pause)
        settings = self._open.project.settings
        self._in_flight = settings.llm_concurrency * settings.llm_tasks_per_request
        if self._open.options.dry_run and (claim := self._leases.take(PLAN)):
            try:
                self._estimate(claim)
            finally:
                self._leases.give_back(claim)

    def _estimate(self, claim: Claim) -> None:
        """Tell what the run would take, and end it."""
        told, usage = estimate(self._open, go_on=partial(self._wait, 0))
        self._leases.require(claim)
        self._work.runs.count(self._run_id, usage)
        self._work.runs.update(self._run_id, estimate=json.dumps(told), total=told["tasks"])
        self._work.runs.end(self._run_id, "succeeded")

    def _look(self) -> bool:
        """See that all hands are at work; whether anything is left to be done here."""
        stopping.require_none()
        run = self._open.now()
        if run.state != "running":
            self._halt.set()
            return self._crew.size > 0
        try:
            self._crew.check()
            self._check_version()
        except (NoRun, StoreUnavailable):
            raise
        except Exception as error:  # noqa: BLE001  the last guard of the run's threads; it is told with its traceback
            fail(self._work, self._run_id, error)
        is_on = not run.wanted and time.monotonic() < self._ends
        if is_on:
            self._hire(run)
        else:
            self._halt.set()
            self._call_off(run)
        rests = run.is_resting and not run.answered
        is_to_leave = run.wanted and (run.answered or (run.settled and not self._is_left))
        if ((is_on and not rests) or is_to_leave) and not self._crew.has_failed(WRITE):
            self._hire_writer()
        if is_on and self._crew.size:
            control.call_for_more(self._work, run)
        return self._crew.size > 0

    def _check_version(self) -> None:
        """:raises Moved: the run may not go on as it began."""
        if time.monotonic() < self._checked + CHECKED_S or self._halt.is_set():
            return
        try:
            self._open.require_same_version(self._work.studio(timeout_s=CHECK_TIMEOUT_S))
        except StudioError as error:
            if not error.is_passing:
                raise
        self._checked = time.monotonic()

    def _see_off(self) -> None:
        """Wait for the threads: what they hear of the LLM is kept if it can be."""
        ends = time.monotonic() + SEEN_OFF_S
        while self._crew.size and time.monotonic() < ends:
            with stopping.interruptible():
                time.sleep(LOOK_S)

    def _hire(self, run: Run) -> None:
        """Take what nobody is at."""
        if self._halt.is_set():  # what was asked for was taken back
            self._halt, self._is_left = Event(), False
        if not run.is_planned and (claim := self._leases.take(PLAN)):
            self._add(claim, self._plan, self._pause, lambda run: run.planned)
        while self._has_room() and (claim := self._leases.take()):
            self._add(claim, self._labeler.label, self._pause, lambda run: run.settled)
        is_free = not (self._crew.has(BATCH) or self._crew.has_failed(BATCH))
        if is_free and self._batching.is_due(run) and (claim := self._leases.take(BATCH)):
            self._add(claim, self._batching.attend, self._pause, lambda run: run.settled)

    def _call_off(self, run: Run) -> None:
        if self._batching.is_to_be_called_off(run) and (claim := self._leases.take(BATCH)):
            self._add(claim, self._batching.call_off, time.sleep, lambda run: run.settled)

    def _has_room(self) -> bool:
        """Whether to take another shard: with as many tasks to follow as are in flight, no request's slot is idle.

        Tasks that are waited for one by one, at the end of several shards, are no reason to take ever more.
        """
        shards = self._crew.shards
        is_short = self._labeler.left(shards) < 2 * self._in_flight
        return not shards or (is_short and len(shards) < 2 + math.ceil(self._in_flight / SHARD_TASKS))

    def _hire_writer(self) -> None:
        if not self._crew.has(WRITE) and (claim := self._leases.take(WRITE)):
            writer = Writer(self._open, self._leases, claim, pause=time.sleep)
            self._add(claim, partial(self._write, writer), time.sleep, lambda run: run.done)

    def _add(
        self, claim: Claim, do: Callable[[Claim], None], pause: Callable[[float], None], progress: Callable[[Run], int]
    ) -> None:
        self._crew.add(claim, partial(self._patiently, partial(do, claim), pause, progress))

    def _is_wanted(self) -> bool:
        """Whether the run goes on, as far as is known, where nobody looks meanwhile."""
        with suppress(StoreUnavailable):
            run = self._work.runs.get(self._run_id)
            return run.state == "running" and not run.wanted
        return True

    def _goes_on(self) -> bool:
        """Whether anything more is to be begun."""
        return not self._halt.is_set()

    def _plan(self, claim: Claim) -> None:
        Planner(self._open, pause=self._pause, goes_on=self._goes_on).plan(claim)

    def _write(self, writer: Writer, claim: Claim) -> None:
        """Write what is answered until all is, or the turn is over; the run ends when all is written."""
        while (run := self._open.now()).state == "running":
            if run.wanted:
                if not self._ledger.is_held():
                    writer.write_all()
                    self._leave()
                    return
            elif run.is_planned and not run.waiting and not self._ledger.is_held(BATCH):
                writer.write_all()
                if self._finish(claim):
                    return
            elif self._halt.is_set():
                return
            elif run.is_resting:
                writer.write_all()
                return
            else:
                writer.write_if_due()
            time.sleep(WRITER_LOOK_S)

    def _leave(self) -> None:
        """One prediction a task and the project's version, if it still is that, of a run that does not finish."""
        try:
            sweep(self._open)
            self._open.require_same_version()
            self._open.keep_step()
        except (StudioError, Moved) as error:
            log.warning("run %s is left as it is: %s", self._run_id, error)
        self._is_left = True

    def _finish(self, claim: Claim) -> bool:
        """One prediction a task, the project's version, and the run is over; False if there is something left to do."""
        sweep(self._open, wait=partial(time.sleep, LIVE_PAUSE_S))
        self._open.require_same_version()
        self._open.keep_step()
        return self._ledger.complete(claim)

    def _patiently(
        self, do: Callable[[], None], pause: Callable[[float], None], progress: Callable[[Run], int]
    ) -> None:
        """Do something that can be done again, while Label Studio is away for no longer than ``AWAY_S``.

        :param progress: of the run; what fails after some is another outage.
        """
        patience = Patience(AWAY_S)
        while True:
            try:
                do()
            except StudioError as error:
                if not error.is_passing or patience.is_over(progress(self._work.runs.get(self._run_id))):
                    raise
                if patience.tries == 1:
                    self._work.runs.tell(self._run_id, "waiting", str(error))
                log.warning("run %s: %s; trying again", self._run_id, error)
                pause(AWAY_PAUSES_S[min(patience.tries, len(AWAY_PAUSES_S)) - 1])
            else:
                return

    def _pause(self, seconds: float) -> None:
        """:raises Halted: nothing more is to be begun."""
        if self._halt.wait(seconds):
            raise Halted

    def _wait(self, seconds: float) -> None:
        """In the main thread. :raises Halted: the run is not to be gone on with."""
        with stopping.interruptible():
            time.sleep(seconds)
        run = self._work.runs.get(self._run_id)
        if run.state != "running" or run.wanted:
            raise Halted
