"""Which tasks a run is about: listed once, page by page, and put into the ledger in shards as they come.

One process plans while others label what is there. One that takes the plan over from a dead one goes on behind the last
page that is in the ledger. It keeps some shards ahead of those who label, and no more: these ask Label Studio for their
tasks, too, which listing all at once would keep waiting. Tasks for validation are drawn at random over the whole
listing (reservoir sampling: Algorithm R in Vitter, Random Sampling with a Reservoir, 1985, section 2) and withheld
before anything is asked, so that labelling waits for the end of such a plan.
"""

import random
from collections.abc import Callable, Sequence

from prelabel.runs.learn import seal
from prelabel.runs.opened import OpenRun
from prelabel.store.ledger import SHARD_TASKS, Claim

PAGE = 2 * SHARD_TASKS
"""Ids listed at a time."""
AHEAD = 2
"""Shards that nobody is at: with so many of them, planning waits."""
AHEAD_LOOK_S = 0.25
_RANDOM = random.SystemRandom()


class Planner:
    """:param pause: waits so many seconds; what it raises ends the planning, which another goes on with.

    :param goes_on: whether another request to an LLM is to be sent.
    """

    def __init__(self, run: OpenRun, *, pause: Callable[[float], None], goes_on: Callable[[], bool]) -> None:
        self._run = run
        self._pause = pause
        self._goes_on = goes_on

    def plan(self, claim: Claim) -> None:
        """Put all tasks of the run that are not there yet into the ledger.

        :raises Lost: somebody else plans.
        """
        run, known = self._run, self._run.now()
        place, planned, limit = known.place, known.planned, run.options.limit
        withheld = self._withheld_before()
        while limit is None or planned < limit:
            self._pause(0)
            while run.ledger.free_shards() >= AHEAD:
                self._pause(AHEAD_LOOK_S)
            page, left = self._page(place, planned)
            if not page:
                break
            ids = page[: None if limit is None else limit - planned]
            total = planned + left
            seen = planned - sum(task <= place for task in withheld)
            draws = draw(run.options.validation, max(0, seen), [task for task in ids if task not in withheld])
            place = ids[-1]
            run.ledger.plan(claim, ids, place=place, total=total if limit is None else min(limit, total), draws=draws)
            planned += len(ids)
            if len(page) == left:
                break
        if drawn := run.ledger.drawn():
            run.work.projects.withhold(run.ref, drawn)
            run.studio.drop_predictions(run.ref.id, drawn)  # of earlier versions, by which people would be swayed
            seal(run, claim, drawn, self._goes_on)
        run.ledger.end_plan(claim)

    def _withheld_before(self) -> set[int]:
        """Tasks that earlier runs have withheld: they lack a prediction for ever, and are not drawn again."""
        run = self._run
        return run.work.projects.all_withheld(run.ref) - set(run.ledger.drawn()) if run.options.validation else set()

    def _page(self, place: int, planned: int) -> tuple[list[int], int]:
        """The next tasks behind ``place``, by id, and how many there are in all from there on."""
        run = self._run
        if run.options.is_chosen:
            tasks, total = run.ledger.chosen(planned, PAGE)
            return tasks, total - planned
        page = run.studio.task_ids(run.ref.id, without=run.lacking, after_id=place, count=PAGE)
        return [task["id"] for task in page.tasks], page.total


def draw(size: int, seen: int, tasks: Sequence[int]) -> dict[int, int]:
    """Which of ``tasks`` come into a reservoir of ``size``, by slot, when ``seen`` were looked at before."""
    drawn: dict[int, int] = {}
    for count, task in enumerate(tasks, seen + 1):
        slot = count - 1 if count <= size else _RANDOM.randrange(count)
        if slot < size:
            drawn[slot] = task
    return drawn
