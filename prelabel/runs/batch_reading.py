"""What a run's batches have answered, on its way into the ledger.

Rows that were read are struck out, so that reading begins where it ended. What they leave unanswered is sorted: what is
likely to pass (expired, the provider's own errors) is to go into another batch, the rest is for live asking, which
knows what to do about a ticket that no reply answers.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from prelabel.asking import offline
from prelabel.core.parse import Answer
from prelabel.core.types import Choices, Usage
from prelabel.errors import LLMError, LLMQueueFull, LLMUnavailable
from prelabel.llm.batch_api import BatchClient
from prelabel.llm.batches import Batch
from prelabel.llm.exchange import ChatReply
from prelabel.runs.batch_finding import Finder
from prelabel.runs.opened import OpenRun, Stopped
from prelabel.runs.provider import Provider
from prelabel.runs.shard import record_of
from prelabel.store.batches import KeptBatch, KeptBatches, Places, ReadRow
from prelabel.store.ledger import Claim

ROWS = 100
"""Read at a time."""
Row = tuple[str, ChatReply | LLMError | None]
"""A request's id and what came of it; None if nothing did."""


@dataclass(slots=True)
class Heard:
    """What some rows say."""

    questions: Sequence[Choices]
    said: dict[int, Answer] = field(default_factory=dict)
    """By task."""
    again: list[int] = field(default_factory=list)
    """Tasks whose request is likely to be answered another time."""
    answers: dict[str, Answer] = field(default_factory=dict)
    """By the names by which they are kept."""
    usage: Usage = field(default_factory=Usage)
    counts: Counter[str] = field(default_factory=Counter)
    """Tasks by what they are."""

    def hear(self, places: Places, answer: ChatReply | LLMError | None) -> None:
        """What came of the request with these places."""
        names = {task: name for ticket in places for task, name in ticket}
        tasks = tuple(tuple(task for task, _ in ticket) for ticket in places)
        found = offline.read(answer, tasks, self.questions, self.usage)
        for task, said in found.answers.items():
            self.said[task] = said
            self.answers[names[task]] = said
        if answer is None or isinstance(answer, LLMUnavailable):
            self.again += found.rest

    def rows(self, run: OpenRun) -> list[ReadRow]:
        """What becomes of the tasks that are answered.

        :raises StudioError: Label Studio does not say what they are.
        :raises SettingsError: a file that the settings name cannot be used.
        """
        tasks = {task["id"]: task for task in run.studio.tasks(run.ref.id, self.said)} if self.said else {}
        outcomes = run.work.labeler.judge(run.project, tasks, self.said, self.usage)
        records = {task: record_of(outcome, self.questions) for task, outcome in outcomes.items()}
        self.counts.update(type(outcomes[task]).__name__.lower() for task, record in records.items() if record)
        return [ReadRow(task, *record) for task, record in records.items() if record]


class BatchReader:
    """:param pause: waits so many seconds, or raises where nothing more is to be done."""

    def __init__(self, run: OpenRun, kept: KeptBatches, claim: Claim, *, pause: Callable[[float], None]) -> None:
        self._run = run
        self._kept = kept
        self._claim = claim
        self._pause = pause
        self._questions = run.project.config.questions
        self._provider = Provider(run.work, run.project.settings)
        self.finder = Finder(self._provider, kept, claim)

    def settle(self, batch: KeptBatch, *, is_last: bool) -> bool:
        """Look at a batch, and read and remove it if it has ended; whether it has.

        :param is_last: what it leaves is not to go into another batch.
        :raises Stopped: the provider takes nothing of the kind.
        :raises LLMQueueFull: it takes no more at present.
        :raises LLMError: how it stands is not known.
        """
        found = self.finder.find(batch)
        if found is None:
            return True
        if not found.status.has_ended:
            if batch.is_unwanted:
                self.finder.cancel(found)
            return False
        self.close(batch, found, is_last=is_last)
        if isinstance(found.problem, LLMQueueFull):
            raise found.problem
        if found.problem:
            raise Stopped(str(found.problem))
        return True

    def close(self, batch: KeptBatch, found: Batch, *, is_last: bool = False) -> None:
        """Read and remove a batch that has ended."""
        if found.problem is None:
            self.read(batch, found, is_last=is_last)
        self.finder.remove(batch, found)

    def read(self, batch: KeptBatch, found: Batch, *, is_last: bool) -> None:
        """Every request of a batch that has ended."""

        async def keep(some: Sequence[Row]) -> None:
            # It asks Label Studio, and may fit a weak model; live requests are waiting for this loop.
            await asyncio.to_thread(self._keep, batch, some, is_last=is_last)

        async def read(batches: BatchClient) -> None:
            some: list[Row] = []
            async for row in batches.results(found):
                some.append(row)
                if len(some) >= ROWS:
                    await keep(some)
                    some = []
            await keep(some)

        self._provider.run(read)
        for places in self._kept.unread(batch):
            self._keep(batch, [(key, None) for key in places], is_last=is_last)

    def _keep(self, batch: KeptBatch, rows: Sequence[Row], *, is_last: bool) -> None:
        self._pause(0)
        waiting = self._kept.places(batch, [key for key, _ in rows])
        heard, taken = Heard(self._questions), dict[str, Places]()
        for key, answer in rows:
            if key in waiting and key not in taken:  # a provider may send one twice
                taken[key] = waiting[key]
                heard.hear(waiting[key], answer)
                if isinstance(answer, ChatReply):
                    self._run.work.measures.answered(answer)
        if not taken:
            return
        self._run.work.labeler.keep_answers(self._run.project, heard.answers)
        again = [ReadRow(task, "b" if is_last else "b+") for task in heard.again]
        answered = heard.rows(self._run)
        self._kept.read(self._claim, batch, taken, [*answered, *again], usage=heard.usage)
        self._run.work.measures.settled(heard.counts)
