"""A shard of a run: its tasks that wait, asked about and answered, each answer kept in the ledger as it comes.

What a dead worker has left of a shard is found by its waiting still. Tasks that ``/predict`` has answered a moment ago
are left alone until Label Studio has stored that, or is not going to. Where an LLM's server is away for a while, its
tickets are tried again after a pause, so that a run outlives it; where Redis is, what was asked by then is still kept.
"""

import json
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from prelabel.core.kept import packed
from prelabel.core.tokens import estimate_tokens
from prelabel.core.types import Abstained, Choices, Failed, Labeled, Outcome, Usage, Withheld
from prelabel.errors import StoreUnavailable
from prelabel.llm.bodies import THINKING_TOKENS
from prelabel.llm.exchange import ChatRequest
from prelabel.llm.pricing import dearest
from prelabel.runs.crew import Halted
from prelabel.runs.opened import OpenRun, Stopped
from prelabel.runs.outlasting import outlasting_redis
from prelabel.runs.sweep import LIVE_PAUSE_S
from prelabel.store.ledger import SHARD_TASKS, Claim, Entry, Ledger

log = logging.getLogger(__name__)

DEADLINE_S = 1800.0
"""For all tickets of a shard."""
LATER_S = 0.5
"""Before money is asked for again that others have reserved."""
ESTIMATED_TIMES, LONGEST_REPLY = 2, 4000
"""How many times its estimate a prompt may have in tokens, and what a reply may without a limit."""
UNPRICED = (
    "nobody knows the price of an answer, so the run cannot keep to what it may cost: set LLM_PRICE_INPUT and "
    "LLM_PRICE_OUTPUT and start another; if they are set, a fallback answered or the LLM's server tells no tokens"
)
LLM_PAUSES_S = (2.0, 5.0, 10.0, 20.0, 30.0)
"""Before each further try of tickets whose LLM did not answer; each try has its own retries within."""


class Spent(Stopped):
    """Nothing is left of what the run may cost."""

    @classmethod
    def of(cls, max_cost: float | None, *, is_known: bool = True) -> "Spent":
        """:param is_known: whether it is known what the run has cost so far."""
        if not is_known:
            return cls(UNPRICED)
        return cls(f"the run may cost ${max_cost or 0:g} at most, and the rest does not fit in: start another")


class _Gate:
    """Admits requests to an LLM as long as the run goes on and there is money left for them."""

    def __init__(
        self,
        ledger: Ledger,
        claim: Claim,
        goes_on: Callable[[], bool],
        price: Callable[[ChatRequest], float],
        max_cost: float | None,
    ) -> None:
        self._ledger = ledger
        self._claim = claim
        self._goes_on = goes_on
        self._price = price
        self._max_cost = max_cost
        self._held: dict[int, float] = {}
        self._released = self._lost = 0.0
        self.refused: Literal["", "later", "no", "unknown"] = ""
        """Why a request was not admitted, if that was for its cost."""
        self.is_halted = False
        """Whether one was not admitted since nothing more was to be begun."""

    def admits(self, request: ChatRequest) -> bool:
        if not self._goes_on():
            self.is_halted = True
            return False
        if self._max_cost is None:
            return True
        dollars = self._price(request)
        try:
            said = self._ledger.reserve(self._claim, dollars, self._max_cost)
        except StoreUnavailable:  # raised, it would break off those in flight
            said = "later"
        if said != "yes":
            self.refused = said
        else:
            self._held[id(request)] = dollars  # which may be another sum once more is known of the server
        return said == "yes"

    def ended(self, request: ChatRequest, lost: int) -> None:
        if self._max_cost is not None:
            dollars = self._held.pop(id(request))
            self._released += dollars
            self._lost += lost * dollars

    def settled(self) -> tuple[float, float]:
        """Of requests that have ended since this was last called the dollars that were reserved, and those that may be
        billed for what was not answered."""
        settled = self._released, self._lost
        self._released = self._lost = 0.0
        return settled


class _Intake:
    """What is answered, and what that has cost, on its way into the ledger: it stays here while Redis is away."""

    def __init__(self, ledger: Ledger, claim: Claim, usage: Usage, gate: _Gate) -> None:
        self._ledger = ledger
        self._claim = claim
        self._usage = usage
        self._gate = gate
        self._moves: deque[tuple[list[Entry], Usage, tuple[float, float]]] = deque()

    def add(self, entries: list[Entry]) -> None:
        """Store these, if that can be done now."""
        self._moves.append((entries, self._usage.take(), self._gate.settled()))
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
            gate = _Gate(self._ledger, claim, self._goes_on, self._price, self._max_cost)
            failed = self._label(claim, ready, gate) if ready else {}
            log.info(
                "run %s: shard %s: %d tasks listed in %.2f s, asked about in %.2f s, %d without an answer",
                *(self._run.run_id, claim.part, len(tasks), listed - began, time.monotonic() - listed, len(failed)),
            )
            if gate.is_halted:  # and perhaps goes on again by now, but those tickets were not asked about
                raise Halted
            if gate.refused in {"no", "unknown"}:
                raise Spent.of(self._max_cost, is_known=gate.refused == "no")
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

    def _present(self, claim: Claim, waiting: Sequence[int]) -> list[dict[str, Any]]:
        """The tasks as Label Studio has them; those that are gone or have been predicted meanwhile are skipped."""
        tasks, gone = self._run.present(waiting)
        if gone:
            self._ledger.move(claim, [Entry(claim.part, task, "s") for task in gone])
        return tasks

    def _label(self, claim: Claim, tasks: Sequence[dict[str, Any]], gate: _Gate) -> dict[int, Failed]:
        """Keep what is answered; returns what is not."""
        numbers = [task["id"] for task in tasks]
        usage = Usage()
        intake = _Intake(self._ledger, claim, usage, gate)

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
            gate=gate,
        )
        intake.close()
        self._pause(0)
        return {task: out for task, out in zip(numbers, outcomes, strict=True) if isinstance(out, Failed)}

    def _price(self, request: ChatRequest) -> float:
        """What a request costs at most."""
        settings = self._project.settings
        is_limited = self._run.work.llm.keeps_to_limits(settings)
        return dearest(settings, *most_tokens(request, is_limited=is_limited)) or 0.0

    def _fail(self, claim: Claim, failed: Mapping[int, Failed]) -> None:
        self._ledger.move(claim, [Entry(claim.part, task, "f", failure.reason) for task, failure in failed.items()])
        self._run.work.measures.settled({"failed": len(failed)})


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


def most_tokens(request: ChatRequest, *, is_limited: bool) -> tuple[int, int]:
    """Of the prompt and of the reply, at most.

    :param is_limited: replies are known to keep to the request's limit; else thinking is billed beside it.
    """
    prompt = sum(estimate_tokens(message.content) for message in request.messages)
    prompt += estimate_tokens(json.dumps(request.schema))
    if request.max_tokens is None:
        return ESTIMATED_TIMES * prompt, LONGEST_REPLY
    return ESTIMATED_TIMES * prompt, request.max_tokens + (0 if is_limited else THINKING_TOKENS)


def _require_hope(failed: Mapping[int, Failed]) -> None:
    """:raises Stopped: every other task would fail the same way."""
    if fatal := next((failure for failure in failed.values() if failure.fatal), None):
        raise Stopped(fatal.reason)
