"""A shard of a run: its tasks that wait, asked about and answered, each answer kept in the ledger as it comes.

What a dead worker has left of a shard is found by its waiting still. Tasks that ``/predict`` has answered a moment ago
are left alone until Label Studio has stored that, or is not going to. Where an LLM's server is away for a while, its
tickets are tried again after a pause, so that a run outlives it; where Redis is, what was asked by then is still kept.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from prelabel.core.kept import packed
from prelabel.core.types import Abstained, Choices, Failed, Labeled, Outcome, Usage, Withheld
from prelabel.errors import StoreUnavailable
from prelabel.judging import last_stage
from prelabel.runs.crew import Halted
from prelabel.runs.gate import RunGate, Spent
from prelabel.runs.opened import OpenRun, Stopped
from prelabel.runs.outlasting import outlasting_redis
from prelabel.runs.sweep import LIVE_PAUSE_S
from prelabel.store.ledger import SHARD_TASKS, Claim, Entry, Ledger

log = logging.getLogger(__name__)

DEADLINE_S = 1800.0
"""For all tickets of a shard."""
NOTHING_KEPT = (
    "of some predictions nothing is kept by which to score them, since a later one of another version came: "
    "run --refresh asks about these anew"
)
LATER_S = 0.5
"""Before a shard is gone on with that Redis, being away, had no money for."""
LLM_PAUSES_S = (2.0, 5.0, 10.0, 20.0, 30.0)
"""Before each further try of tickets whose LLM did not answer; each try has its own retries within."""


class Intake:
    """What is answered, and what that has cost, on its way into the ledger: it stays here while Redis is away."""

    def __init__(self, ledger: Ledger, claim: Claim, usage: Usage, gate: RunGate) -> None:
        self._ledger = ledger
        self._claim = claim
        self._usage = usage
        self._gate = gate
        self._moves: deque[tuple[list[Entry], Usage, tuple[float, float]]] = deque()

    def add(self, entries: list[Entry]) -> None:
        """Store these, if that can be done now."""
        spent, settled = self._usage.take(), self._gate.settled()
        if entries or spent != Usage() or any(settled):
            self._moves.append((entries, spent, settled))
        with suppress(StoreUnavailable):
            self._store()

    def close(self) -> None:
        """Store what is left, once Redis is back.

        :raises StoreUnavailable: it stays away.
        """
        self.add([])
        outlasting_redis(self._store)

    def _store(self) -> None:
        while self._moves:
            entries, spent, (released, lost) = self._moves[0]
            self._ledger.move(self._claim, entries, spent, released=released, lost=lost)
            self._moves.popleft()


class ShardLabeler:
    """What it takes to label shards of one run.

    :param pauses_s: before each further try of tickets whose LLM did not answer.
    :param pause: waits so many seconds; raises where nothing more is to be begun.
    :param goes_on: whether another request is to be sent.
    """

    def __init__(
        self,
        run: OpenRun,
        *,
        pauses_s: Sequence[float],
        pause: Callable[[float], None],
        goes_on: Callable[[], bool],
    ) -> None:
        self._run = run
        self._ledger = run.ledger
        self._project = run.project
        self._max_cost = run.options.max_cost
        self._pauses_s = pauses_s
        self._pause = pause
        self._goes_on = goes_on
        self._left: dict[str, int] = {}

    def left(self, shards: Iterable[str]) -> int:
        """How many tasks of these shards have no answer yet, as far as is known."""
        return sum(self._left.get(shard, SHARD_TASKS) for shard in shards)

    def label(self, claim: Claim) -> None:
        """Settle every task of the shard.

        :raises Stopped: the rest of the run would fare no better.
        :raises Lost: somebody else is at it.
        """
        try:
            if self._run.options.rescore:
                awaited: set[int] = set()
                while awaited := rescore(self._run, claim, awaited):
                    self._pause(LIVE_PAUSE_S)
            else:
                self._settle(claim)
        finally:
            self._left.pop(claim.part, None)

    def _settle(self, claim: Claim) -> None:
        tries, heard = 0, False
        while waiting := self._ledger.waiting(claim.part):
            self._left[claim.part] = len(waiting)
            began = time.monotonic()
            tasks = self._present(claim, waiting)
            listed = time.monotonic()
            live = self._run.work.projects.live(self._run.ref, [task["id"] for task in tasks])
            ready = [task for task in tasks if task["id"] not in live]
            gate = RunGate(self._run, claim, self._goes_on)
            failed = self._label(claim, ready, gate) if ready else {}
            log.info(
                "run %s: shard %s: %d tasks listed in %.2f s, asked about in %.2f s, %d without an answer",
                *(self._run.run_id, claim.part, len(tasks), listed - began, time.monotonic() - listed, len(failed)),
            )
            if gate.is_halted:  # and perhaps goes on again by now, but those tickets were not asked about
                raise Halted
            if gate.refused in {"no", "unknown"}:
                self._end_asking(Spent.of(self._max_cost, is_known=gate.refused == "no"))
                continue
            if gate.refused:
                self._pause(LATER_S)
                continue
            heard = heard or len(failed) < len(ready)
            if not failed:
                if live:
                    self._pause(LIVE_PAUSE_S)
                continue
            _require_hope(failed)
            if tries < len(self._pauses_s) and any(failure.passing for failure in failed.values()):
                passing = {task: failure for task, failure in failed.items() if failure.passing}
                self._fail(claim, {task: failure for task, failure in failed.items() if task not in passing})
                self._run.tell("waiting", next(iter(passing.values())).reason)
                self._pause(self._pauses_s[tries])
                tries += 1
            elif not heard and len(failed) == self._ledger.size(claim.part):
                raise Stopped(next(iter(failed.values())).reason)
            else:
                self._fail(claim, failed)

    def _end_asking(self, spent: Spent) -> None:
        """:raises Spent: there are tasks without an answer; where all have one, a stronger model alone was refused."""
        now = self._run.now()
        if now.waiting or not now.is_planned:
            raise spent
        self._run.tell("escalation", f"the first answers stand where the stronger model was too dear: {spent}")

    def _present(self, claim: Claim, waiting: Sequence[int]) -> list[dict[str, Any]]:
        """The tasks as Label Studio has them; those that are gone or have been predicted meanwhile are skipped."""
        tasks, gone = self._run.present(waiting)
        if gone:
            self._ledger.move(claim, [Entry(claim.part, task, "s") for task in gone])
        return tasks

    def _label(self, claim: Claim, tasks: Sequence[dict[str, Any]], gate: RunGate) -> dict[int, Failed]:
        """Keep what is answered; returns what is not."""
        numbers = [task["id"] for task in tasks]
        usage = Usage()
        intake = Intake(self._ledger, claim, usage, gate)

        def keep(settled: Mapping[int, Outcome]) -> None:
            questions = self._project.config.questions
            kept = [(numbers[place], record_of(outcome, questions)) for place, outcome in settled.items()]
            entries = [Entry(claim.part, task, *record) for task, record in kept if record]
            intake.add(entries)
            self._left[claim.part] = self._left.get(claim.part, 0) - len(entries)
            names = [type(outcome).__name__.lower() for outcome in settled.values()]
            self._run.work.measures.settled(Counter(name for name in names if name != "failed"))

        outcomes = self._run.work.labeler.label_tasks(
            self._project,
            tasks,
            deadline_s=DEADLINE_S,
            withheld=self._run.work.projects.withheld(self._run.ref, numbers),
            usage=usage,
            on_settled=keep,
            gate=gate.of,
        )
        intake.close()
        self._pause(0)
        return {task: out for task, out in zip(numbers, outcomes, strict=True) if isinstance(out, Failed)}

    def _fail(self, claim: Claim, failed: Mapping[int, Failed]) -> None:
        self._ledger.move(claim, [Entry(claim.part, task, "f", failure.reason) for task, failure in failed.items()])
        self._run.work.measures.settled({"failed": len(failed)})


def rescore(run: OpenRun, claim: Claim, awaited: Collection[int] = ()) -> set[int]:
    """Score what was predicted for the tasks of a shard anew, by what was kept of it; returns those that wait still.

    Those do that ``/predict`` has answered a moment ago and that Label Studio has not stored yet: that score may be an
    old one. Tasks are left alone that have no such prediction, be it that they got no label, that somebody has deleted
    it in Label Studio, or that they are withheld.

    :param awaited: what this returned before.
    :raises StudioError: Label Studio does not tell which tasks have a prediction.
    """
    waiting = run.ledger.waiting(claim.part)
    if not waiting:
        return set()
    withheld = run.work.projects.withheld(run.ref, waiting)
    lacking = run.studio.present_tasks(run.ref.id, waiting, without=run.version)
    left_alone, live = withheld | lacking, run.work.projects.live(run.ref, sorted(lacking - withheld))
    known = run.work.projects.predicted(run.ref, [task for task in waiting if task not in left_alone])
    usage, entries, is_untold = Usage(), list[Entry](), False
    for task in sorted(set(waiting) - live):
        said = known.get(task)
        score = run.project.scoring.rescored(said.labels, said.grounds) if said and said.labels else None
        if said is None or score is None or said.version != run.version:
            entries.append(Entry(claim.part, task, "h" if task in withheld else "s"))
            is_untold |= task not in left_alone and (said is None or said.version != run.version)
            continue
        again = Labeled(said.labels, score.value, grounds=said.grounds)
        entries.append(Entry(claim.part, task, f"a{packed(again, run.project.config.questions)}"))
        usage.settle(last_stage(said.grounds))
    if is_untold:
        run.tell("skipped", NOTHING_KEPT)
    run.ledger.move(claim, entries, usage)
    run.work.projects.note_live(run.ref, [], no_more=set(awaited) - lacking)  # it is stored, and no other is to come
    return live


def record_of(outcome: Outcome, questions: Sequence[Choices]) -> tuple[str, str] | None:
    """What is kept of a task with this outcome, and what was said; None where it has failed."""
    match outcome:
        case Labeled(comment=comment):
            return f"a{packed(outcome, questions)}", comment
        case Abstained():
            return "a[]", ""
        case Withheld():
            return "h", ""
        case Failed():
            return None


def _require_hope(failed: Mapping[int, Failed]) -> None:
    """:raises Stopped: every other task would fail the same way."""
    if fatal := next((failure for failure in failed.values() if failure.fatal), None):
        raise Stopped(fatal.reason)
