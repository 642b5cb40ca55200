"""A file of tickets to a file of Label Studio tasks with predictions, a chunk at a time.

rows → reviewed or not → those that have no answer yet → labelled as everywhere → side file → tasks

The side file (``OUT.partial``) is what an interrupted call leaves behind and the next one goes on from; so is what an
older ``OUT`` says of the same data under the same model version.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from prelabel.core.types import Example, Failed, Outcome, Usage
from prelabel.files.done import Done
from prelabel.files.read import TicketFile
from prelabel.files.reviews import Reviewed, Sorter
from prelabel.files.rows import Malformed, Row
from prelabel.files.summary import Summary
from prelabel.files.write import Task, build_task, read_answers, write_tasks
from prelabel.labeling import Labeler
from prelabel.project import Project
from prelabel.studio.predictions import Item, batch_item

CHUNK = 200
"""Rows asked about before their answers are kept: what an interruption may cost. More if more are asked at once."""
CHUNK_DEADLINE_S = 3600.0
"""Only there so that nothing waits for ever."""

Advance = Callable[[int, Usage], object]


@dataclass(frozen=True, slots=True)
class Survey:
    """What a file holds, known before anybody is asked."""

    examples: Sequence[Example]
    malformed: Sequence[Malformed]
    open: int
    """Rows to be asked about."""


def survey(tickets: TicketFile, sorter: Sorter) -> Survey:
    """Read it all once.

    :raises RequestError: it is a JSON document that is none.
    """
    examples, malformed, count = [], [], 0
    for row in sorter.sort(tickets.rows()):
        match row:
            case Malformed():
                malformed.append(row)
            case Reviewed(example=Example() as example):
                examples.append(example)
            case Row():
                count += 1
    return Survey(examples, malformed, count)


class FileLabeling:
    """One file's labelling: ``tickets`` and ``sorter`` say what there is to do, ``labeler`` does it."""

    def __init__(self, project: Project, tickets: TicketFile, sorter: Sorter, labeler: Labeler, out: Path) -> None:
        self._project = project
        self._tickets = tickets
        self._sorter = sorter
        self._labeler = labeler
        self._out = out
        self._asked: set[str] = set()
        self._failures: dict[str, str] = {}
        self._summary = Summary(project.version)

    def run(self, advance: Advance) -> Summary:
        """Do all of it, and write ``out``, unless some rows failed and it has more answers already than there are now.

        :param advance: told how many more rows are done, and what all have cost so far.
        :raises RequestError: ``out`` is something else, or another process is at work on it.
        """
        before = read_answers(self._out)
        version = self._project.version
        with Done(side_file(self._out), version) as done:
            done.add(
                {key: said for key, said in before.items() if said["model_version"] == version and key not in done}
            )
            self._ask(done, advance)
            tasks = self._tasks(done)
            self._summary.is_written = not self._failures or len(done) >= len(before)
            if self._summary.is_written:
                write_tasks(self._out, tasks)
                done.remove()
            else:
                deque(tasks, maxlen=0)  # only counted
        return self._summary

    def _ask(self, done: Done, advance: Advance) -> None:
        settings = self._project.settings
        size = max(CHUNK, settings.llm_concurrency * settings.llm_tasks_per_request)
        rows = self._unanswered(done, advance)
        while not self._summary.stopped and (chunk := list(islice(rows, size))):
            tasks = [{"id": row.number, "data": row.data} for row in chunk]
            outcomes = self._labeler.label_tasks(
                self._project, tasks, deadline_s=CHUNK_DEADLINE_S, usage=self._summary.usage
            )
            answers = {row.key: outcome for row, outcome in zip(chunk, outcomes, strict=True)}
            failures = {key: outcome for key, outcome in answers.items() if isinstance(outcome, Failed)}
            done.add({key: self._item(outcome) for key, outcome in answers.items() if key not in failures})
            self._failures |= {key: failure.reason for key, failure in failures.items()}
            self._summary.stopped = _why_stop(failures.values(), len(chunk))
            advance(len(chunk), self._summary.usage)

    def _unanswered(self, done: Done, advance: Advance) -> Iterator[Row]:
        """The rows to be asked about; of those with the same data, the first."""
        for row in self._sorter.sort(self._tickets.rows()):
            if not isinstance(row, Row):
                continue
            key = row.key
            if key in done or key in self._asked:
                self._summary.known += key not in self._asked
                advance(1, self._summary.usage)
            else:
                self._asked.add(key)
                yield row

    def _tasks(self, done: Done) -> Iterator[Task]:
        """The file's rows as tasks, each counted."""
        summary = self._summary
        for row in self._sorter.sort(self._tickets.rows()):
            match row:
                case Malformed(line=line, reason=reason):
                    summary.malformed += 1
                    summary.errors.setdefault(reason, []).append(line)
                case Reviewed(row=own, annotations=annotations):
                    summary.reviewed += 1
                    yield build_task(own, annotations, None)
                case Row():
                    item = done.get(row.key)
                    if item is None:
                        summary.failed += 1
                        reason = self._failures.get(row.key) or summary.stopped or "added meanwhile"
                        summary.errors.setdefault(reason, []).append(row.line)
                    elif item["result"] or item["score"]:  # no label of a multiple choice may be the answer
                        summary.labeled += 1
                    else:
                        summary.abstained += 1
                    yield build_task(row, row.annotations, item)

    def _item(self, outcome: Outcome) -> Item:
        return batch_item(outcome, self._project.config, self._project.version)


def side_file(out: Path) -> Path:
    """Where the answers are kept until ``out`` is written."""
    return out.with_name(f"{out.name}.partial")


def _why_stop(failures: Collection[Failed], asked: int) -> str:
    """Empty to go on. Where none of a chunk's rows got an answer, after all retries, the rest would wait in vain."""
    reason = next((failure.reason for failure in failures if failure.fatal), "")
    if not reason and len(failures) == asked:
        reason = next(iter(failures)).reason
    return reason
