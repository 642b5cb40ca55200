"""A run's waiting tasks to batches at the provider: composed shard by shard, a batch at most some shards.

What need not be asked about (withheld, answered earlier, no text) is settled on the way. The first request is tried out
live where anything about it is new to the server, and is answered by that. Each batch is kept before it is submitted;
what it may cost is reserved until it has ended.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from prelabel.asking.offline import Composed
from prelabel.core.types import Failed
from prelabel.errors import LLMError, LLMRefusesContent, LLMRefusesForm
from prelabel.llm.batch_api import BatchClient
from prelabel.llm.batch_files import Most, Part
from prelabel.llm.exchange import ChatReply, ChatRequest
from prelabel.llm.pricing import batched, dearest
from prelabel.runs.batch_reading import Heard
from prelabel.runs.gate import most_tokens
from prelabel.runs.lease import Leases
from prelabel.runs.opened import OpenRun
from prelabel.runs.provider import Provider
from prelabel.runs.shard import record_of
from prelabel.store.batches import KeptBatches, Places
from prelabel.store.ledger import Claim, Entry, Lost

SHARDS = 20
"""Of one batch at most: 10,000 tasks, whose requests are in memory together."""
LOOK_UP_S = 1800.0
"""For the notes and examples of a shard, four times what it may take."""


class Full(Exception):
    """Nothing more can be submitted before some batch has ended: the queue is full, or the money is reserved."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, and the tasks that it is about."""

    shard: str
    places: Places
    request: ChatRequest
    dollars: float
    """What it costs at most; 0 where that is not kept to."""


class BatchSender:
    """:param pause: waits so many seconds, or raises where nothing more is to be begun."""

    def __init__(
        self, run: OpenRun, kept: KeptBatches, leases: Leases, claim: Claim, *, pause: Callable[[float], None]
    ) -> None:
        self._run = run
        self._kept = kept
        self._leases = leases
        self._claim = claim
        self._pause = pause
        self._settings = run.project.settings
        self._max_cost = run.options.max_cost
        self._provider = Provider(run.work, self._settings)

    def send_all(self, tokens: int) -> None:
        """Submit what waits.

        Where the queue is full, or what has become of a batch is not known, one is kept that was perhaps never made.

        :param tokens: of one batch; 0 for any number.
        :raises Full: not all could be.
        :raises LLMError: the provider did not take it, or is not known to have.
        """
        while shards := self._run.ledger.shards(unasked=True, most=SHARDS):
            asked = [each for shard in shards for each in self._compose(shard)]
            fitting = self._fitting(asked)
            if fitting:
                self._hand_in(fitting, Most(tokens=tokens))
            if len(fitting) < len(asked):
                raise Full

    def _compose(self, shard: str) -> list[_Asked]:
        """The requests about the tasks of a shard that wait; the others are settled."""
        self._pause(0)
        waiting = self._run.ledger.waiting(shard)
        tasks, gone = self._run.present(waiting) if waiting else ([], [])
        live = self._run.work.projects.live(self._run.ref, [task["id"] for task in tasks])
        tasks = [task for task in tasks if task["id"] not in live]
        numbers = [task["id"] for task in tasks]
        withheld = self._run.work.projects.withheld(self._run.ref, numbers)
        found = self._run.work.labeler.prepare(self._run.project, tasks, withheld=withheld, within_s=LOOK_UP_S)
        entries = [Entry(shard, task, "s") for task in gone] + [Entry(shard, task, "b") for task in live]
        for place, outcome in found.settled.items():
            reason = outcome.reason if isinstance(outcome, Failed) else ""
            record = record_of(outcome, self._run.project.config.questions) or ("f", reason)
            entries.append(Entry(shard, numbers[place], *record))
        self._run.ledger.move(self._claim, entries, found.usage)
        price = self._price()
        return [self._asked(shard, each, numbers, found.names, price) for each in found.requests]

    def _price(self) -> Callable[[ChatRequest], float]:
        """What a request costs at most; 0 where that is not kept to."""
        if self._max_cost is None:
            return lambda _: 0.0
        is_limited = self._provider.keeps_to_limits()
        return lambda request: batched(self._settings, *most_tokens(request, is_limited=is_limited)) or 0.0

    def _asked(
        self,
        shard: str,
        made: Composed,
        tasks: Sequence[int],
        names: Mapping[int, str],
        price: Callable[[ChatRequest], float],
    ) -> _Asked:
        places = tuple(tuple((tasks[place], names.get(place, "")) for place in ticket) for ticket in made.places)
        return _Asked(shard, places, made.request, price(made.request))

    def _fitting(self, asked: Sequence[_Asked]) -> list[_Asked]:
        """Those of the first that there is money for."""
        if self._max_cost is None:
            return list(asked)
        left = self._kept.money_left(self._max_cost)
        totals = accumulate(each.dollars for each in asked)
        return [each for each, total in zip(asked, totals, strict=True) if total <= left]

    def _hand_in(self, asked: Sequence[_Asked], most: Most) -> None:
        async def hand_in(batches: BatchClient) -> None:
            is_answered = await self._try_out(batches, asked[0])
            requests = {f"r{number}": each for number, each in enumerate(asked[1:] if is_answered else asked)}
            async for part in batches.parts(((key, each.request) for key, each in requests.items()), most):
                await self._submit(batches, part, [requests[key] for key in part.custom_ids])
                self._pause(0)

        self._provider.run(hand_in)

    async def _submit(self, batches: BatchClient, part: Part, asked: Sequence[_Asked]) -> None:
        places = {key: each.places for key, each in zip(part.custom_ids, asked, strict=True)}
        dollars = sum(each.dollars for each in asked)
        batch = self._kept.keep(self._claim, places, now=time.time(), tokens=part.tokens, dollars=dollars)
        self._leases.require(self._claim)
        batch_id = await batches.submit(batch.name, part)
        try:
            self._kept.update(self._claim, replace(batch, batch_id=batch_id))
        except Lost:
            if batch.number not in {each.number for each in self._kept.all()}:
                self._kept.add_stray(batch_id, time.time())  # it was looked for in vain, and the same is asked again
            raise

    async def _try_out(self, batches: BatchClient, asked: _Asked) -> bool:
        """Whether a request was asked live, and so need not be in a batch.

        :raises Full: there is no money for it.
        :raises LLMError: there is no reply, so that there would be none in a batch.
        """
        dollars, lost = 0.0, 0
        if self._max_cost is not None:
            most = most_tokens(asked.request, is_limited=await batches.keeps_to_limits())
            dollars = dearest(self._settings, *most) or 0.0
            if self._run.ledger.reserve(self._claim, dollars, self._max_cost) != "yes":
                raise Full
        try:
            reply = await batches.try_out(asked.request)
            lost = reply.lost_tries if reply else 0
        except LLMError as error:
            lost = error.lost_tries
            if not isinstance(error, LLMRefusesContent | LLMRefusesForm):
                raise
            reply = None  # it is refused in its batch, too, and then is live asking's
        finally:
            if dollars:
                self._run.ledger.move(self._claim, [], released=dollars, lost=lost * dollars)
        if reply is not None:  # it asks Label Studio, and live requests are waiting for this loop
            await asyncio.to_thread(self._keep, asked, reply)
        return reply is not None

    def _keep(self, asked: _Asked, reply: ChatReply) -> None:
        """What a request was answered that was asked live."""
        heard = Heard(self._run.project.config.questions)
        heard.hear(asked.places, reply)
        self._run.work.labeler.keep_answers(self._run.project, heard.answers)
        self._run.ledger.move(self._claim, [], heard.usage.take())  # Label Studio may not say what tasks these are
        said = {row.task: (row.record, row.said) for row in heard.rows(self._run)}
        tasks = [task for ticket in asked.places for task, _ in ticket]
        entries = [Entry(asked.shard, task, *said.get(task, ("b", ""))) for task in tasks]
        self._run.ledger.move(self._claim, entries, heard.usage)
        self._run.work.measures.settled(heard.counts)
