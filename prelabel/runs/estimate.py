"""A dry run: what a run would take, told from a real sample of its tasks. Nothing is written and nothing withheld.

The sample's answers are kept like all answers, so that the run itself need not ask for them again.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from prelabel.core.types import Abstained, Failed, Labeled, Usage
from prelabel.errors import PrelabelError
from prelabel.llm.pricing import batched
from prelabel.runs.opened import OpenRun
from prelabel.runs.plan import PAGE, draw

SAMPLE = 20
DEADLINE_S = 300.0


def estimate(run: OpenRun, *, go_on: Callable[[], None]) -> tuple[dict[str, Any], Usage]:
    """How many tasks, requests, tokens and dollars, and what telling it has cost; dollars are None if unknown.

    :param go_on: called before each page of tasks that is read; what it raises ends it all.
    :raises PrelabelError: no task of the sample could be answered.
    """
    wanted = None if run.options.refresh else run.lacking
    count, free, sample = _sampled(run, wanted, go_on)
    tasks = [task for number in sample for task in run.studio.tasks_between(run.ref.id, number, number, without=wanted)]
    usage = Usage()
    outcomes = run.work.labeler.label_tasks(run.project, tasks, deadline_s=DEADLINE_S, usage=usage)
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    if failures and len(failures) == len(outcomes):
        raise PrelabelError(failures[0].reason)
    answered = sum(isinstance(outcome, Labeled | Abstained) for outcome in outcomes)
    abstained = sum(isinstance(outcome, Abstained) for outcome in outcomes)
    times = max(0, free - run.options.validation) / answered if answered else 0.0
    spent = {name: value for name, value in asdict(usage).items() if name not in ("cost", "from_cache")}
    told = {name: round(value * times) for name, value in spent.items()}
    cost = _cost(run, usage)
    estimated = None if cost is None else cost * times
    return {"tasks": count, "sampled": len(tasks), "abstained": abstained, **told, "cost": estimated}, usage


def _cost(run: OpenRun, usage: Usage) -> float | None:
    """What the sample would have cost in the run's mode."""
    if run.options.mode == "live" or not usage.requests:
        return usage.cost
    return batched(run.project.settings, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)


def _sampled(run: OpenRun, wanted: str | None, go_on: Callable[[], None]) -> tuple[int, int, list[int]]:
    """How many tasks the run would be about, how many of these are not withheld, and some of them, drawn at random."""
    withheld = run.work.projects.state(run.ref).withheld
    seen, free, place, drawn, limit = 0, 0, 0, dict[int, int](), run.options.limit
    while limit is None or seen < limit:
        go_on()
        page = run.studio.task_ids(run.ref.id, without=wanted, after_id=place, count=PAGE)
        if not page.tasks:
            break
        ids = [task["id"] for task in page.tasks][: None if limit is None else limit - seen]
        others = [task for task in ids if task not in withheld]
        drawn |= draw(SAMPLE, free, others)
        seen, free, place = seen + len(ids), free + len(others), ids[-1]
    return seen, free, sorted(drawn.values())
