"""The commands for bulk runs."""

import json
import math
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, get_args

import click

from prelabel.bootstrap import Services, services
from prelabel.config import Method
from prelabel.runs import control
from prelabel.shell import dollars, json_option, project_option, told
from prelabel.store.run import ENDED, Run, RunOptions

LOOK_S = 0.5
"""Between looks at a run that is waited for."""

UNCALIBRATED = "scores are not calibrated yet: each is the best signal there is, as it came"

run_argument = click.argument("run_id", metavar="RUN")


def _finite(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    """:raises click.BadParameter: no cost is above it, or below."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"must be a number of US dollars, got {value}")
    return value


@click.command()
@project_option
@click.option("--refresh", is_flag=True, help="Begin a new generation, and predict every task anew.")
@click.option("--limit", type=click.IntRange(min=1), default=None, help="Tasks at most.")
@click.option(
    "--validation",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Withhold N tasks drawn at random, for people to label blind.",
)
@click.option(
    "--max-cost",
    type=click.FloatRange(min=0, min_open=True),
    callback=_finite,
    default=None,
    help="US dollars at most.",
)
@click.option(
    "--mode",
    type=click.Choice(["live", "batch"]),
    default="live",
    help="batch: through the provider's Batch API, at half the price and within a day.",
)
@click.option(
    "--method",
    type=click.Choice(get_args(Method)),
    default=None,
    help="Who labels from now on: becomes the project's LABELING_METHOD, but for --dry-run.",
)
@click.option("--rescore", is_flag=True, help="Ask nothing: score anew what was predicted, by the latest blind labels.")
@click.option("--dry-run", is_flag=True, help="Only tell what it would take, from a real sample of 20 tasks.")
@click.option("--no-wait", is_flag=True, help="Only queue it, and print its id.")
@json_option
@told
def run(
    project_id: int,
    refresh: bool,
    limit: int | None,
    validation: int,
    max_cost: float | None,
    mode: Literal["live", "batch"],
    method: Method | None,
    rescore: bool,
    dry_run: bool,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Pre-label a whole project: every task without a prediction of the current version.

    Workers do it, so it goes on if this command is ended. Exit status 0 if the run succeeded and no task failed.
    """
    work = services()
    options = RunOptions(
        project_id,
        refresh=refresh,
        limit=limit,
        validation=validation,
        max_cost=max_cost,
        dry_run=dry_run,
        mode=mode,
        rescore=rescore,
    )
    started = control.start(work, options, method)
    if no_wait:
        click.echo(json.dumps({"id": started.id}) if as_json else started.id)
        return
    _wait(work, started.id, as_json)


@click.command()
@click.option("--project", "project_id", type=int, metavar="ID", help="Only this project's.")
@json_option
@told
def runs(project_id: int | None, as_json: bool) -> None:
    """List runs, newest first."""
    work = services()
    found = work.runs.all(project_id)
    if as_json:
        click.echo(json.dumps([control.describe(work, each) for each in found]))
        return
    for each in found:
        click.echo(_line(each))


@click.command()
@run_argument
@json_option
@told
def status(run_id: str, as_json: bool) -> None:
    """Show a run: counts, what failed and why, and what has happened to it."""
    work = services()
    _show(work, work.runs.get(run_id), as_json)
    if not as_json:
        for event in work.runs.history(run_id):
            why = f": {event['why']}" if event["why"] else ""
            click.echo(f"  {event['at'][:19]}Z  {event['what']}{why}")


@click.command()
@run_argument
@told
def pause(run_id: str) -> None:
    """Have a run stop for now, after the tasks that it is at."""
    click.echo(_line(control.pause(services(), run_id)))


@click.command()
@run_argument
@told
def resume(run_id: str) -> None:
    """Let a paused run go on."""
    click.echo(_line(control.resume(services(), run_id)))


@click.command()
@run_argument
@told
def cancel(run_id: str) -> None:
    """End a run; what is done stays."""
    click.echo(_line(control.cancel(services(), run_id)))


@click.command()
@run_argument
@click.option("--no-wait", is_flag=True, help="Only queue it.")
@json_option
@told
def retry(run_id: str, no_wait: bool, as_json: bool) -> None:
    """Try a run's failed tasks again, and go on with what it left undone."""
    work = services()
    again = control.retry(work, run_id)
    if no_wait:
        _show(work, again, as_json)
        return
    _wait(work, again.id, as_json)


COMMANDS = (run, runs, status, pause, resume, cancel, retry)


def _wait(work: Services, run_id: str, as_json: bool) -> None:
    """Show a run until it is over or paused."""
    found = work.runs.get(run_id)
    if not work.jobs.has_worker():
        click.echo("No worker is running, so the run waits: start one with 'python -m prelabel worker'.", err=True)
    hidden = as_json or not sys.stderr.isatty()
    with click.progressbar(
        length=0,
        label=f"run {run_id}",
        file=sys.stderr,
        show_pos=True,
        show_eta=False,  # click's knows nothing of pauses, nor of the last import
        hidden=hidden,
        item_show_func=_progress,
    ) as bar:
        while found.state not in ENDED and found.state != "paused":
            time.sleep(LOOK_S)
            found = work.runs.get(run_id)
            bar.length = found.total
            bar.update(found.settled - bar.pos, found)
    _show(work, found, as_json)
    if found.state == "failed" or found.counts["failed"]:
        sys.exit(1)


def _show(work: Services, found: Run, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(control.describe(work, found)))
        return
    click.echo(_line(found))
    if found.message:
        click.echo(f"  {found.message}")
    if told := found.estimate:
        tokens = f"{told['prompt_tokens']} prompt and {told['completion_tokens']} completion tokens"
        click.echo(f"  {told['tasks']} tasks would take {told['requests']} requests, {tokens}, {dollars(told['cost'])}")
    for stage in control.stages(found):
        click.echo(f"  {_stage(stage)}")
    if found.stages:
        click.echo(f"  {_scores(found)}")
    if waits := control.batches(work, found):
        by = f", by {waits['expire_at']} at the latest" if waits["expire_at"] else ""
        batches = f"{waits['count']} batch{'es' if waits['count'] > 1 else ''}"
        click.echo(f"  waits for the provider: {batches}, {waits['completed']} of {waits['requests']} requests{by}")
    for error in work.runs.errors(found.id):
        click.echo(f"  {error['count']} failed: {error['reason']} (tasks {', '.join(map(str, error['tasks']))})")


def _stage(told: Mapping[str, Any]) -> str:
    """Who settled how many, and how good that is."""
    good = f", {told['accuracy']:.1%} of {told['judged']} labelled blind right" if told["judged"] else ""
    paid = f", {dollars(told['cost'])}" if told["cost"] else ""
    return f"settled by {told['stage'].replace('_', ' ')}: {told['tasks']} ({told['share']:.0%}){paid}{good}"


def _scores(found: Run) -> str:
    """What the run's scores are."""
    count = found.evidence.get("tasks", 0)
    return f"scores calibrated by {count} tasks labelled blind" if count else UNCALIBRATED


def _line(found: Run) -> str:
    shown = {**found.counts, "answered and not written yet": found.answered}
    counts = [f"{count} {name.replace('_', ' ')}" for name, count in shown.items() if count]
    cost = f"{_spent(found)} ({dollars(found.cost_per_task)} a task)" if found.cost_per_task else _spent(found)
    told = ", ".join([*counts, cost, *([_pace(found)] if found.pace else [])])
    return f"{found.id}  project {found.options.project}  {found.state}  {found.done}/{found.total}  {told}"


def _progress(found: Run | None) -> str:
    if not found:
        return ""
    if found.is_resting:
        return f"waits for the provider's batches, {_spent(found)}"
    return f"{_pace(found)}, {_spent(found)}" if found.pace else _spent(found)


def _pace(found: Run) -> str:
    left = "" if found.eta_seconds is None else f", {timedelta(seconds=round(found.eta_seconds))} left"
    return f"{found.pace:.1f} tasks/s{left}"


def _spent(found: Run) -> str:
    return f"cost {dollars(found.cost)}"
