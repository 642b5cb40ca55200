"""The commands for bulk runs."""

import json
import sys
import time

import click

from prelabel.bootstrap import Services, services
from prelabel.runs import control
from prelabel.shell import dollars, json_option, project_option, told
from prelabel.store.runs import ENDED, Run, RunOptions

LOOK_S = 0.5
"""Between looks at a run that is waited for."""

run_argument = click.argument("run_id", metavar="RUN")


@click.command()
@project_option
@click.option("--refresh", is_flag=True, help="Begin a new generation, and predict every task anew.")
@click.option("--limit", type=click.IntRange(min=1), default=None, help="Tasks at most.")
@click.option("--no-wait", is_flag=True, help="Only queue it, and print its id.")
@json_option
@told
def run(project_id: int, refresh: bool, limit: int | None, no_wait: bool, as_json: bool) -> None:
    """Pre-label a whole project: every task without a prediction of the current version.

    Workers do it, so it goes on if this command is ended. Exit status 0 if the run succeeded and no task failed.
    """
    work = services()
    started = control.start(work, RunOptions(project_id, refresh=refresh, limit=limit))
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
    """Show a run: counts, and what failed and why."""
    work = services()
    _show(work, work.runs.get(run_id), as_json)


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
        length=0, label=f"run {run_id}", file=sys.stderr, show_pos=True, hidden=hidden, item_show_func=_spent
    ) as bar:
        while found.state not in ENDED and found.state != "paused":
            time.sleep(LOOK_S)
            found = work.runs.get(run_id)
            bar.length = found.total
            bar.update(found.done - bar.pos, found)
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
    for error in work.runs.errors(found.id):
        click.echo(f"  {error['count']} failed: {error['reason']} (tasks {', '.join(map(str, error['tasks']))})")


def _line(found: Run) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in found.counts.items() if count)
    cost = f"{_spent(found)} ({dollars(found.cost_per_task)} a task)" if found.cost_per_task else _spent(found)
    return f"{found.id}  project {found.options.project}  {found.state}  {found.done}/{found.total}  {counts}, {cost}"


def _spent(found: Run | None) -> str:
    return f"cost {dollars(found.cost)}" if found else ""
