"""What a run has answered, on its way into Label Studio: in few large imports, by one process of the run at a time.

An import costs seconds in a large project, whatever its size, and is not idempotent: twice made, it makes every
prediction twice. So the ledger notes that one begins before it does; where that note is found without its end, since a
writer has died or waited in vain, it is looked first which predictions there are, and only the rest is written. Label
Studio goes on with an import whose client has gone, so that the look waits for as long as imports take.

Label Studio takes an import whole or not at all, so where a task was deleted meanwhile it is left out and the rest
imported again. (With its flag for memory-efficient imports it takes what came before that task, too: what is then there
twice, ``sweep`` removes.) Which rows it drops without a word, the number that it says it took does not tell: that is
looked at.

A run that scores anew gives the predictions that are there their scores instead, one by one: an annotation whose
prediction is gone by the time somebody submits it, Label Studio refuses (1.23.2).

A writer that was frozen, and whose import was made after another had taken its place, removes what is there twice: the
run may be over by then, and nobody else would look.
"""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any

from prelabel.core.kept import unpacked
from prelabel.core.types import Abstained, Labeled, Prediction
from prelabel.errors import InvalidPrediction, StudioError
from prelabel.runs.lease import Leases
from prelabel.runs.opened import OpenRun
from prelabel.runs.outlasting import outlasting_redis
from prelabel.runs.sweep import LIVE_PAUSE_S, sweep
from prelabel.store.ledger import Answer, Claim, Entry, Lost
from prelabel.store.run import Run
from prelabel.studio.predictions import batch_item

log = logging.getLogger(__name__)

MOST_ROWS = 20_000
"""Predictions in one import, for the memory that they take: about 15 MB."""
KEPT_AT_ONCE = 1000
"""Of an import that was made, as rows once more."""
SCORED_AT_ONCE = 100
"""Between looks whether somebody else writes by now; Label Studio takes 0.04 s for each."""
LEAST_ROWS = 1000
"""Fewer are imported while labelling goes on only where that costs next to nothing."""
OFTEN, SELDOM = 5, 20
"""How many times its duration must have passed since the last, for an import of many rows and of few."""
NOT_SOONER_S = 20.0
"""And at least this, after which somebody may wait to see predictions; nor is one begun so short of the end."""
SETTLING_S, A_TASK_S = 3.0, 0.001
"""How long, at least, an import whose client has gone is given to be over, and for each task of the run where none has
been measured; else three times what one takes."""
DROPPED = "Label Studio took no prediction of it, and did not say why"

Row = dict[str, Any]
"""As Label Studio takes it."""


def is_due(answered: int, *, since_s: float, import_s: float, left_s: float | None) -> bool:
    """Whether to import now, while labelling goes on.

    At most a sixth of the time goes into imports, so that Label Studio has time for others; none is begun that would
    keep the last one waiting at the end, which has to be made anyway.

    :param answered: predictions that wait.
    :param since_s: since the last import ended, or labelling began.
    :param import_s: what one takes, as measured; 0 if that is not known.
    :param left_s: until all is answered, as far as is known.
    """
    if answered >= MOST_ROWS:
        return True
    if left_s is not None and left_s < max(NOT_SOONER_S, 1.5 * import_s):
        return False
    times = OFTEN if answered >= LEAST_ROWS else SELDOM
    return answered > 0 and since_s >= max(NOT_SOONER_S, times * import_s)


class Writer:
    """One process's turn at writing a run's answers.

    :param pause: waits so many seconds, or raises where the run is not to be gone on with.
    """

    def __init__(self, run: OpenRun, leases: Leases, claim: Claim, *, pause: Callable[[float], None]) -> None:
        self._open = run
        self._ledger = run.ledger
        self._leases = leases
        self._claim = claim
        self._pause = pause

    def write_if_due(self) -> None:
        """One import, if it is time for one."""
        run = self._open.now()
        is_at_once = run.writing_since or (run.answered and self._open.options.rescore)
        if is_at_once or is_due(run.answered, since_s=run.unwritten_s, import_s=run.import_s, left_s=run.asking_left_s):
            self._write_some(run)

    def write_all(self) -> None:
        """Imports until nothing is answered that is not written."""
        while (run := self._open.now()).answered:
            self._write_some(run)

    def _write_some(self, run: Run) -> None:
        """:raises StudioError: Label Studio refuses, or was away for too long."""
        if run.writing_since:
            self._find_out(run)
        self._require()
        answers = self._to_be_shown(list(islice(self._ledger.answers(), MOST_ROWS)))
        if not answers:
            return
        if self._open.options.rescore:
            self._score(answers)
            return
        self._open.update(writing_since=time.time())
        began = time.monotonic()
        answers, created = self._import(answers)
        taken_s = time.monotonic() - began
        try:
            if created != len(answers):
                answers = self._without_dropped(answers, created)
            outlasting_redis(partial(self._settle, answers, taken_s))
        except Lost:
            log.warning("run %s: somebody else has written meanwhile", self._open.run_id)
            sweep(self._open, wait=partial(self._pause, LIVE_PAUSE_S))
            raise
        log.info("run %s: %d predictions imported in %.2f s", self._open.run_id, len(answers), taken_s)

    def _score(self, answers: Sequence[Answer]) -> None:
        """Give the predictions of these tasks their scores; a task that has none any more is skipped.

        :raises Lost: somebody else writes by now.
        """
        for start in range(0, len(answers), SCORED_AT_ONCE):
            self._require()
            scores = {answer: self._row(answer)["score"] for answer in answers[start : start + SCORED_AT_ONCE]}
            wanted = {answer.task: score for answer, score in scores.items()}
            found = self._open.studio.predictions(self._open.ref.id, wanted)
            there = [row for row in found if row.version == self._open.version]
            for row in there:
                if row.score != wanted[row.task_id]:
                    self._open.studio.set_score(row.id, wanted[row.task_id])
            tasks = {row.task_id for row in there}
            gone = [Entry(answer.shard, answer.task, "s") for answer in scores if answer.task not in tasks]
            outlasting_redis(partial(self._end, [answer for answer in scores if answer.task in tasks], gone))

    def _end(self, written: Sequence[Answer], gone: Sequence[Entry]) -> None:
        self._ledger.move(self._claim, gone)
        self._keep(written)

    def _to_be_shown(self, answers: list[Answer]) -> list[Answer]:
        """All but those of tasks that were withheld since they were asked about."""
        withheld = self._open.work.projects.withheld(self._open.ref, [answer.task for answer in answers])
        if withheld:
            unseen = [Entry(answer.shard, answer.task, "h") for answer in answers if answer.task in withheld]
            self._ledger.move(self._claim, unseen)
        return [answer for answer in answers if answer.task not in withheld]

    def _require(self) -> None:
        """:raises Lost: somebody else writes by now."""
        self._leases.require(self._claim)
        self._ledger.move(self._claim, [])

    def _settle(self, answers: Sequence[Answer], taken_s: float) -> None:
        """An import is over. :raises Lost: somebody else writes by now."""
        self._keep(answers)
        self._open.update(writing_since="", import_s=round(taken_s, 3), imported_at=time.time())

    def _import(self, answers: list[Answer]) -> tuple[list[Answer], int]:
        """What was sent in the end, and how many Label Studio has taken.

        :raises StudioError: it refuses; where it may have taken them all the same, the note that it began stays.
        """
        try:
            return answers, self._send(answers)
        except StudioError as error:  # it takes all or nothing
            if not _is_refusal(error):
                raise
            self._require()
            self._open.update(writing_since="")
            answers = self._of_present_tasks(answers, error)
        self._open.update(writing_since=time.time())
        return answers, self._send(answers) if answers else 0

    def _send(self, answers: Sequence[Answer]) -> int:
        return self._open.studio.import_predictions(self._open.ref.id, map(self._row, answers))

    def _find_out(self, run: Run) -> None:
        """What an import has done of which nobody knows how it ended."""
        usual_s = 3 * run.import_s if run.import_s else A_TASK_S * run.total
        settled_at = run.writing_since + SETTLING_S + usual_s
        while (left_s := settled_at - time.time()) > 0:
            self._pause(min(1.0, left_s))
        unsure = iter(()) if self._open.options.is_anew else self._ledger.answers()  # old ones look like new ones
        while answers := list(islice(unsure, MOST_ROWS)):
            tasks = [answer.task for answer in answers]
            lacking = self._open.studio.present_tasks(self._open.ref.id, tasks, without=self._open.version)
            present = self._open.studio.present_tasks(self._open.ref.id, tasks)
            there = [answer for answer in answers if answer.task in present - lacking]
            log.info("run %s: of an interrupted import %d predictions are there", self._open.run_id, len(there))
            self._keep(there)
        self._open.update(writing_since="")

    def _without_dropped(self, answers: list[Answer], created: int) -> list[Answer]:
        """The answers that Label Studio has; the tasks of the others have failed."""
        log.warning("run %s: Label Studio took %d of %d predictions", self._open.run_id, created, len(answers))
        tasks = [answer.task for answer in answers]
        lacking = self._open.studio.present_tasks(self._open.ref.id, tasks, without=self._open.version)
        dropped = [answer for answer in answers if answer.task in lacking]
        self._ledger.move(self._claim, [Entry(answer.shard, answer.task, "f", DROPPED) for answer in dropped])
        return [answer for answer in answers if answer.task not in lacking]

    def _of_present_tasks(self, answers: list[Answer], refusal: StudioError) -> list[Answer]:
        """The answers whose tasks there still are; the others count as skipped.

        :raises StudioError: ``refusal``, if it was not for tasks that are gone.
        """
        if refusal.status != 400:
            raise refusal
        present = self._open.studio.present_tasks(self._open.ref.id, [answer.task for answer in answers])
        gone = [answer for answer in answers if answer.task not in present]
        if not gone:
            raise refusal
        log.info("run %s: %d tasks were deleted meanwhile", self._open.run_id, len(gone))
        self._ledger.move(self._claim, [Entry(answer.shard, answer.task, "s") for answer in gone])
        return [answer for answer in answers if answer.task in present]

    def _keep(self, answers: Sequence[Answer]) -> None:
        """These are in Label Studio."""
        version = self._open.version
        for start in range(0, len(answers), KEPT_AT_ONCE):
            rows = {answer: self._row(answer) for answer in answers[start : start + KEPT_AT_ONCE]}
            said = {answer.task: self._prediction(answer, row) for answer, row in rows.items()}
            self._open.work.projects.keep_predictions(self._open.ref, version, said, run_id=self._open.run_id)
            self._ledger.move(self._claim, [_entry(answer, row) for answer, row in rows.items()])

    def _prediction(self, answer: Answer, row: Row) -> Prediction:
        outcome = unpacked(answer.packed, self._open.project.config.questions)
        if isinstance(outcome, Labeled):  # whose controls without a label have no region
            return Prediction(outcome.labels, row["score"], self._open.version, outcome.grounds)
        return Prediction({}, row["score"], self._open.version)

    def _row(self, answer: Answer) -> Row:
        config = self._open.project.config
        outcome = unpacked(answer.packed, config.questions) or Abstained("unreadable")
        if isinstance(outcome, Labeled):
            outcome = Labeled(outcome.labels, outcome.score, answer.comment)
        try:
            item = batch_item(outcome, config, self._open.version)
        except InvalidPrediction:
            log.exception("run %s: a prediction of ours is sent as an abstention", self._open.run_id)
            item = batch_item(Abstained("invalid"), config, self._open.version)
        return {"task": answer.task, **item}


def _entry(answer: Answer, row: Row) -> Entry:
    """What becomes of a task whose prediction is written; without a region it is an abstention."""
    return Entry(answer.shard, answer.task, f"l{answer.packed}" if row["result"] else "n")


def _is_refusal(error: StudioError) -> bool:
    """Whether Label Studio has surely taken nothing."""
    return error.status is not None and 400 <= error.status < 500
