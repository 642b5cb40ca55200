"""``python -m prelabel file``: a file of tickets in, what Label Studio imports out, without Redis or Label Studio."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import click

from prelabel.bootstrap import configure_logging
from prelabel.config import Settings
from prelabel.core.types import Usage
from prelabel.errors import RequestError
from prelabel.files.examples import FileExamples, as_local
from prelabel.files.label import FileLabeling, side_file, survey
from prelabel.files.read import open_tickets
from prelabel.files.reviews import Sorter, find_label_columns
from prelabel.files.rows import check_columns
from prelabel.files.summary import MOST_LINES, Summary
from prelabel.files.write import find_out
from prelabel.guidance.notes import Guidance
from prelabel.guidance.rules import RuleSource
from prelabel.hearing import Hearings
from prelabel.labeling import Labeler
from prelabel.llm.loop import LLM, own_limits
from prelabel.project import Project
from prelabel.quality.weak_model import ABOUT
from prelabel.shell import dollars, json_option, told
from prelabel.store.keys import ProjectRef
from prelabel.store.projects import ProjectState
from prelabel.studio.label_config import parse_label_config

CONFIG = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("file")
@click.argument("source", metavar="IN", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--config", "config_file", required=True, type=CONFIG, help="The project's label config (XML).")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file to write.")
@click.option(
    "--label-column",
    metavar="NAME",
    help="Where labels stand that people chose; '' for nowhere  [default: the columns called as the config's Choices].",
)
@json_option
@told
def file_command(source: str, config_file: Path, out: Path, label_column: str | None, as_json: bool) -> None:
    """Pre-label a file without Label Studio: IN is CSV, JSON or JSON Lines (- for standard input), OUT is what Label
    Studio imports, tasks with predictions.

    Each row's columns become the task's data, unchanged. A row whose label column is filled, or a task that has an
    annotation, is reviewed: it is passed on as an annotation, and is an example for the others. Without an LLM (neither
    OPENAI_API_KEY nor OPENAI_BASE_URL) a classifier trained on the reviewed rows labels them.

    Answers are kept in OUT.partial until OUT is written, so that the same command goes on where it was interrupted. If
    OUT is there already, what it says of the same data by the same model, prompt and labels stays, and only the rest is
    asked about; remove it to ask about everything.

    Exit status 0 if every row was answered or reviewed; 1 if some failed (OUT then has them without a prediction; the
    same command asks about them again) or were left out as malformed; 2 if nothing could be begun.
    """
    settings = Settings.from_env()
    is_told = "log_level" in settings.model_fields_set
    configure_logging(settings if is_told else settings.model_copy(update={"log_level": "WARNING"}))
    try:
        summary = _label(settings, source, config_file, find_out(out, source), label_column)
    except RequestError as error:
        raise click.UsageError(str(error)) from error
    except KeyboardInterrupt:
        raise click.ClickException(
            f"interrupted; what was answered is in {side_file(out)}, start again to go on"
        ) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or out}: {error.strerror}") from error
    if as_json:
        click.echo(json.dumps({"out": str(out), **summary.as_json()}))
    else:
        _show(summary, out)
    sys.exit(0 if summary.is_complete else 1)


def _label(settings: Settings, source: str, config_file: Path, out: Path, label_column: str | None) -> Summary:
    guidance = Guidance()
    guidance.check(settings)
    RuleSource().check(settings)
    with ExitStack() as stack:
        with _named(config_file):
            config = parse_label_config(config_file.read_text("utf-8-sig"), settings.prompt_prefix)
        with _named(source):
            tickets = stack.enter_context(open_tickets(source))
            check_columns(tickets.columns, config)
            sorter = Sorter(config, find_label_columns(config, label_column, tickets.columns))
            found = survey(tickets, sorter)
        for malformed in found.malformed:
            click.echo(f"{source}: {malformed}", err=True)
        project = Project.of(ProjectState(ProjectRef(0)), config, settings)
        if settings.openai_provider == "local":
            project = as_local(project, found.examples)
            if found.open:
                click.echo(ABOUT, err=True)
        llm = LLM(settings.llm_concurrency, limiting=partial(own_limits, settings))
        stack.callback(llm.close)
        labeler = Labeler(Hearings(FileExamples(config.questions, found.examples)), llm, notes=guidance)
        bar = click.progressbar(
            length=found.open, label=source, file=sys.stderr, hidden=not sys.stderr.isatty(), item_show_func=_spent
        )
        progress = stack.enter_context(bar)
        return FileLabeling(project, tickets, sorter, labeler, out).run(progress.update)


def _spent(usage: Usage | None) -> str:
    return f"cost {dollars(usage.cost)}" if usage else ""


def _show(summary: Summary, out: Path) -> None:
    counts = {name: getattr(summary, name) for name in ("reviewed", "labeled", "abstained", "failed", "malformed")}
    known = f" ({summary.known} answered earlier)" if summary.known else ""
    click.echo(f"{summary.total} rows: {', '.join(f'{count} {name}' for name, count in counts.items())}{known}")
    if (used := summary.usage).requests:
        each = f" ({dollars(summary.cost_per_task)} a row)" if summary.cost_per_task else ""
        tokens = (
            f"{used.prompt_tokens} prompt tokens ({used.cached_tokens} cached), {used.completion_tokens} in replies"
        )
        click.echo(f"{used.requests} requests, {tokens}, cost {dollars(used.cost)}{each}")
    for error in summary.as_json()["errors"]:
        lines = ", ".join(map(str, error["lines"])) + (", ..." if error["count"] > MOST_LINES else "")
        click.echo(f"  {error['count']} without an answer: {error['reason']} (lines {lines})", err=True)
    if summary.is_written:
        click.echo(f"{out} is written; predictions are of version {summary.model_version}.")
    else:
        click.echo(f"{out} has more answers than there are now, so it stays as it is.", err=True)
    if summary.failed:
        click.echo("The same command asks about the failed rows again.", err=True)


@contextmanager
def _named(path: str | Path) -> Iterator[None]:
    """Puts the file's name before what is wrong with it."""
    try:
        yield
    except RequestError as error:
        raise RequestError(error.kind, f"{path}: {error}") from error
    except UnicodeDecodeError:
        raise RequestError("file", f"{path}: it is not UTF-8") from None
