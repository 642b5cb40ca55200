"""The command that tells how good labels are."""

import json

import click

from prelabel.bootstrap import services
from prelabel.quality.calibrator import MIN_EVIDENCE
from prelabel.shell import json_option, project_option, told
from prelabel.store.keys import ProjectRef


@click.command()
@project_option
@json_option
@told
def quality(project_id: int, as_json: bool) -> None:
    """Tell how good each method, and each rule, is on tasks that people have labelled blind.

    Nothing is asked of an LLM, and nothing is changed.
    """
    work = services()
    studio = work.studio()
    found = studio.project(project_id)
    project = work.service.open(ProjectRef(found.id, found.created_unix), found.label_config)
    methods, rules = work.evidence.report(project, studio)
    if as_json:
        click.echo(json.dumps({**methods.as_json(), "scored_by": project.scoring.evidence, "rules": rules.as_json()}))
        return
    click.echo(str(methods))
    if rules.rules:
        click.echo(f"\n{rules}")
    evidence = max(methods.evidence.values(), default=0)
    if evidence < MIN_EVIDENCE:
        hint = f"Scores need {MIN_EVIDENCE}: withhold tasks by 'run --validation 300', and have people label them."
    elif unheard := len(work.evidence.unheard(project)):
        hint = f"About {unheard} of them the LLM has not been asked as it answers now: the next run asks."
    elif project.scoring.evidence == evidence:
        hint = "Scores are made by all tasks labelled blind."
    elif project.scoring.evidence:
        hint = f"Scores are made by {project.scoring.evidence} of them; 'run --rescore' makes them by all."
    else:
        hint = "Scores are made by none of them yet: 'run --rescore' makes them by all."
    click.echo(f"\n{hint}")
