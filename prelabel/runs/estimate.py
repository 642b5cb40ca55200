"""A dry run: what a run would take, told from a real sample of its tasks. Nothing is written and nothing withheld.

That includes what it would ask in secret: about the tasks that it would withhold, and about those withheld earlier that
the LLM was not heard on. It is asked about all of these, and live; about the others only as the method goes.

The sample's answers are kept like all answers, so that the run itself need not ask for them again.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from prelabel.core.types import Abstained, Failed, Labeled, Usage
from prelabel.errors import PrelabelError
from prelabel.llm.pricing import batched
from prelabel.runs.opened import OpenRun
from prelabel.runs.plan import PAGE, draw

SAMPLE = 20
DEADLINE_S = 300.0
WITHOUT_LLM = ("reviewed", "rules", "weak_model")
"""Stages that settle a task before an LLM is asked."""


def estimate(run: OpenRun, *, go_on: Callable[[], None]) -> tuple[dict[str, Any], Usage]:
    """How many tasks, requests, tokens and dollars, and what telling it has cost; dollars are None if unknown.

    :param go_on: called before each page of tasks that is read; what it raises ends it all.
    :raises PrelabelError: no task of the sample could be answered.
    """
    project, wanted = run.project, run.lacking
    if run.options.refresh:  # it asks about all anew, whatever is known of this generation
        state = replace(project.state, generation=project.state.generation + 1)
        project, wanted = replace(project, state=state), None
    withheld = run.work.projects.all_withheld(run.ref)
    count, free, sample = _sampled(run, wanted, withheld, go_on)
    tasks = [task for number in sample for task in run.studio.tasks_between(run.ref.id, number, number, without=wanted)]
    usage = Usage()
    outcomes = run.work.labeler.label_tasks(project, tasks, deadline_s=DEADLINE_S, usage=usage)
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    if failures and len(failures) == len(outcomes):
        raise PrelabelError(failures[0].reason)
    answered = sum(isinstance(outcome, Labeled | Abstained) for outcome in outcomes)
    abstained = sum(isinstance(outcome, Abstained) for outcome in outcomes)
    drawn = min(run.options.validation, free)
    secret = drawn + len(run.work.evidence.lacking(project, withheld)) if project.settings.uses_llm else 0
    heard = answered - sum(usage.stages.get(stage, 0) for stage in WITHOUT_LLM)
    shown_times = (free - drawn) / answered if answered else 0.0
    secret_times = secret / heard if heard else 0.0
    spent = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens")
    told = {name: round(getattr(usage, name) * (shown_times + secret_times)) for name in spent}
    cost = None if secret and not heard else _cost(run, usage, shown_times, secret_times)
    return {"tasks": count, "sampled": len(tasks), "abstained": abstained, **told, "cost": cost}, usage


def _cost(run: OpenRun, usage: Usage, shown_times: float, secret_times: float) -> float | None:
    """US dollars of so many times the sample in the run's mode, and live in secret; None if a price is not known."""
    shown = usage.cost
    if run.options.mode == "batch" and usage.requests:
        shown = batched(run.project.settings, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
    if shown is None or usage.cost is None:
        return None
    return shown * shown_times + usage.cost * secret_times


def _sampled(
    run: OpenRun, wanted: str | None, withheld: Collection[int], go_on: Callable[[], None]
) -> tuple[int, int, list[int]]:
    """How many tasks the run would be about, how many of these are not withheld, and some of them, drawn at random."""
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
