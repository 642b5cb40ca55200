"""``python -m prelabel doctor``: the findings for people, line by line as they are made, or as JSON."""

import json
import sys
from dataclasses import asdict

import click

from prelabel.config import Settings
from prelabel.doctor.container import is_container
from prelabel.doctor.examination import examine
from prelabel.doctor.findings import Finding, summary
from prelabel.shell import json_option, told

MARKS = {"ok": ("ok", "green"), "warning": ("warn", "yellow"), "failed": ("FAIL", "red"), "skipped": ("skip", "cyan")}


@click.command()
@click.option("--project", "project_id", type=int, metavar="ID", help="Only this project  [default: all known].")
@json_option
@told
def doctor(project_id: int | None, as_json: bool) -> None:
    """Check every piece, and say what to do about each failure.

    Settings, Redis, workers, the LLM (one tiny request), Label Studio and the token, the backend, and how each project
    is connected. Nothing is changed. Exit status 0 if nothing failed, warnings or not; 1 otherwise.
    """
    findings: list[Finding] = []
    for finding in examine(Settings.given(), project=project_id, in_container=is_container()):
        findings.append(finding)
        if not as_json:
            _show(finding)
    click.echo(json.dumps([asdict(finding) for finding in findings]) if as_json else f"\n{summary(findings)}")
    sys.exit(any(finding.state == "failed" for finding in findings))


def _show(finding: Finding) -> None:
    mark, colour = MARKS[finding.state]
    click.echo(f"{click.style(f'{mark:<4}', fg=colour)}  {click.style(finding.check, bold=True)}: {finding.message}")
    if finding.cure:
        click.echo(f"      {finding.cure}")
