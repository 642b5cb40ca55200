"""The commands of ``python -m prelabel``. Exit status 0: done, 1: failed, 2: called wrongly."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from prelabel.bootstrap import Services, configure_logging, services
from prelabel.cli_quality import quality
from prelabel.cli_runs import COMMANDS as RUN_COMMANDS
from prelabel.config import check_per_project
from prelabel.doctor.command import doctor
from prelabel.files.command import file_command
from prelabel.running import difference, running_backend
from prelabel.runs.control import forget_project
from prelabel.shell import json_option, project_option, told
from prelabel.store.keys import ProjectRef
from prelabel.studio.rows import StudioProject


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Pre-labels Label Studio's support tickets with an LLM, so that people review instead of typing labels.

    Settings are environment variables; the README lists them.
    """


for command in (*RUN_COMMANDS, quality, file_command, doctor):
    main.add_command(command)


@main.command()
@told
def serve() -> None:
    """Serve Label Studio's ML backend protocol, under gunicorn."""
    services().settings.require_safe_listening()
    root = Path(__file__).resolve().parents[1]
    server = [
        sys.executable,
        "-m",
        "gunicorn",
        "--chdir",
        str(root),
        "-c",
        str(root / "gunicorn.conf.py"),
        "_wsgi:app",
    ]
    os.execv(server[0], server)  # noqa: S606 - gunicorn takes this process's place, so signals reach it


@main.command()
@click.option("--burst", is_flag=True, help="Stop when the queue is empty.")
@told
def worker(burst: bool) -> None:
    """Do the slower work that the backend queues, as an RQ worker; any number of them may run."""
    from prelabel.runs.worker import work

    built = services(is_worker=True)
    configure_logging(built.settings)
    work(built, burst=burst)


@main.command()
@project_option
@click.option("--url", default="", help="Where Label Studio reaches this backend  [default: PRELABEL_URL].")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A setting of this project's own.")
@json_option
@told
def connect(project_id: int, url: str, assignments: tuple[str, ...], as_json: bool) -> None:
    """Connect this backend to a project in Label Studio, or put right how it is connected.

    ML backend with interactive pre-annotation, webhook with its secret, title and version in step. Doing it again
    changes nothing that is right.
    """
    from prelabel.runs.jobs import connect_project

    work = services()
    overrides = dict(_assignment(text) for text in assignments)
    check_per_project(overrides)
    work.settings.with_overrides({name: value for name, value in overrides.items() if value})
    found = work.studio().project(project_id)
    ref = work.projects.resolve(ProjectRef(found.id, found.created_unix))
    work.projects.set_settings(ref, overrides)
    connection = connect_project(work, ref, url or work.settings.address)
    connection = replace(connection, warnings=(*connection.warnings, *_not_the_backends(work, found)))
    if as_json:
        click.echo(json.dumps(asdict(connection)))
        return
    for change in connection.changes or ("Nothing to change: the project is connected.",):
        click.echo(change)
    for warning in connection.warnings:
        click.echo(f"Warning: {warning}", err=True)


@main.command()
@click.option("--project", "project_id", type=int, metavar="ID", help="All that is kept of a project.")
@click.option("--task", "task_id", type=int, metavar="ID", help="All that is kept of a task.")
@told
def forget(project_id: int | None, task_id: int | None) -> None:
    """Remove all that is kept of a project or a task: reviews, prompts, what was predicted, runs.

    A run that a project has going is cancelled first.
    """
    if (project_id is None) == (task_id is None):
        raise click.UsageError("give either --project ID or --task ID")
    work = services()
    if project_id is not None:
        count = forget_project(work, project_id)
        click.echo(f"Project {project_id} is forgotten: {count} keys removed.")
    if task_id is not None:
        for ref in work.projects.known():
            work.annotations.drop(ref, work.annotations.of_tasks(ref, [task_id]))
            work.projects.forget_tasks(ref, [task_id])
        work.runs.forget_tasks([task_id])
        click.echo(f"Task {task_id} is forgotten.")


@main.group()
def prompts() -> None:
    """Show a project's prompt versions and choose among them."""


@prompts.command("list")
@project_option
@json_option
@told
def list_prompts(project_id: int, as_json: bool) -> None:
    """All versions, the project's own marked with *."""
    records = services().prompts.all(_known(services(), project_id))
    if as_json:
        click.echo(json.dumps([asdict(record) for record in records]))
        return
    if not records:
        click.echo("No prompt was submitted yet; the default prompt is used.")
    for record in records:
        first_line = record.text.splitlines()[0] if record.text else ""
        mark = "*" if record.promoted else " "
        click.echo(
            f"{mark} {record.version:>3}  {record.created_at}  {click.style(first_line[:80], bold=record.promoted)}"
        )


@prompts.command()
@project_option
@click.argument("version", type=int)
@json_option
@told
def show(project_id: int, version: int, as_json: bool) -> None:
    """One version's text."""
    record = services().prompts.get(_known(services(), project_id), version)
    click.echo(json.dumps(asdict(record)) if as_json else record.text)


@prompts.command()
@project_option
@click.argument("version", type=int)
@json_option
@told
def promote(project_id: int, version: int, as_json: bool) -> None:
    """Make a version the project's prompt; a new generation of predictions begins."""
    work = services()
    ref = _known(work, project_id)
    if work.prompts.get(ref, version).promoted:
        told_so = f"Prompt version {version} is the project's already."
        click.echo(json.dumps({"prompt": version}) if as_json else told_so)
        return
    generation = work.projects.begin_generation(ref)
    work.prompts.promote(ref, version)
    _tell_promoted(work, ref, version, generation, as_json)


@prompts.command()
@project_option
@json_option
@told
def rollback(project_id: int, as_json: bool) -> None:
    """Go back to the version that was the project's before; a new generation of predictions begins."""
    work = services()
    ref = _known(work, project_id)
    version = work.prompts.rollback(ref)
    _tell_promoted(work, ref, version, work.projects.begin_generation(ref), as_json)


def _tell_promoted(work: Services, ref: ProjectRef, version: int, generation: int, as_json: bool) -> None:
    work.jobs.put("sync_title", ref)
    if as_json:
        click.echo(json.dumps({"prompt": version, "generation": generation}))
        return
    name = f"Prompt version {version}" if version else "The default prompt"
    click.echo(f"{name} is the project's now; generation {generation} begins.")


def _known(work: Services, project_id: int) -> ProjectRef:
    """The project as this backend knows it."""
    return work.projects.resolve(ProjectRef(project_id))


def _not_the_backends(work: Services, found: StudioProject) -> Iterator[str]:
    """A warning if a backend runs that has another version of the project, which it will put in place of ours."""
    backend = running_backend(work.settings)
    ours = work.service.open(ProjectRef(found.id, found.created_unix), found.label_config).version
    if backend and (theirs := backend.version_of(found)) and theirs != ours:
        yield ": ".join(difference(found.id, ours, theirs))


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"must be NAME=VALUE, got {text!r}", param_hint="--set")
    return name.strip(), value.strip()
