"""The sample project: made once in Label Studio, reviewed in part, learnt from, connected and pre-labelled.

The CSV's column that is named as a control holds what a person decided; those tickets come with an annotation, marked
as drawn by hand like every one of the interface's own. An import sends no event to the backend, so the annotations are
read from Label Studio. Each part of it may be interrupted, and is then done by the next start.
"""

import csv
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from deploy.stack.console import Step, remark, step
from deploy.stack.folder import Folder
from deploy.stack.servers import REPOSITORY, Settings
from deploy.stack.studio import TABS, Json, Studio
from prelabel.bootstrap import Services
from prelabel.core.types import Choices
from prelabel.errors import PrelabelError
from prelabel.runs import control
from prelabel.runs.jobs import connect_project
from prelabel.store.keys import ProjectRef
from prelabel.store.run import ENDED, Run, RunOptions
from prelabel.store.runs import RunExists
from prelabel.studio.label_config import parse_label_config

EXAMPLES = REPOSITORY / "examples"
LABELED_AT_MOST = 500
"""Tasks of one pre-labelling: the sample whole, and no surprise where somebody imports thousands, then sets a key."""
PATIENCE_S = 180
LOOK_S = 0.3
RESTING = ENDED | {"paused"}
"""States in which a run is not waited for."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One of the sample's projects, and the files in ``examples`` that it is made of."""

    title: str
    unit: str
    config: str
    tasks: str


SAMPLES = (
    Sample("Support tickets", "tickets", "tickets.xml", "tickets.csv"),
    Sample("Support dialogues", "dialogues", "dialogues.xml", "dialogues.json"),
)


def set_up(folder: Folder, settings: Settings, work: Services, require_servers: Callable[[], None]) -> dict[str, int]:
    """Make what is not there yet and pre-label what this model has not; returns project numbers by title.

    A project that somebody has deleted stays deleted. A pre-labelling that fails is told, and tried again by the next
    start: the stack is of use without it.

    :param require_servers: raises if a server has ended, or all are to stop.
    """
    studio, known = Studio(settings), folder.sample()
    for sample in SAMPLES:
        if sample.title not in known:
            known[sample.title] = {"project": _make(sample, studio, work), "labeled_by": ""}
            folder.keep_sample(known)
    there = {title: each["project"] for title, each in known.items() if studio.exists(each["project"])}
    model = _model(work)
    for title, project in there.items():
        if known[title]["labeled_by"] != model and _prelabel(title, project, model, work, require_servers):
            known[title]["labeled_by"] = model
            folder.keep_sample(known)
    return there


def read_tasks(sample: Sample) -> list[Json]:
    """The tasks as Label Studio imports them, those that are reviewed with their annotation."""
    path = EXAMPLES / sample.tasks
    if path.suffix == ".json":
        return list(json.loads(path.read_text("utf-8")))
    [question, *_] = parse_label_config((EXAMPLES / sample.config).read_text("utf-8")).questions
    with path.open(encoding="utf-8", newline="") as file:
        return list(_tasks(csv.DictReader(file), question))


def _tasks(rows: "csv.DictReader[str]", question: Choices) -> Iterator[Json]:
    for row in rows:
        decided = row.pop(question.name)
        region = {"from_name": question.name, "to_name": question.to_name, "type": "choices", "origin": "manual"}
        annotation = {"result": [{**region, "value": {"choices": [decided]}}]}
        yield {"data": row, "annotations": [annotation] if decided else []}


def _make(sample: Sample, studio: Studio, work: Services) -> int:
    """The project's number; one that was begun is gone on with."""
    tasks = read_tasks(sample)
    with step(f"project {sample.title!r}: {len(tasks)} {sample.unit}") as taken:
        label_config = (EXAMPLES / sample.config).read_text("utf-8")
        project = studio.project_titled(sample.title) or studio.create_project(sample.title, label_config)
        number = int(project["id"])
        if not project.get("task_number"):
            studio.import_tasks(number, tasks)
        there = studio.tab_titles(number)
        for tab in (tab for tab in TABS if tab["title"] not in there):
            studio.create_tab(number, tab)
        client = work.studio()
        found = client.project(number)
        ref = work.projects.resolve(ProjectRef(found.id, found.created_unix))
        learnt = work.learning.rebuild(ref, found.label_config, client)
        connect_project(work, ref, work.settings.address)
        taken.text += f", {learnt} of them reviewed" if learnt else ""
    return number


def _model(work: Services) -> str:
    """What predictions come from, as people call it."""
    settings = work.settings
    return "the embedded model" if settings.openai_provider == "local" else settings.openai_model


def _prelabel(title: str, project: int, model: str, work: Services, require_servers: Callable[[], None]) -> bool:
    """Whether each task has a prediction of ``model`` afterwards."""
    with step(f"predictions for {title!r} by {model}") as taken:
        try:
            run = _label(project, work, taken, require_servers)
        except PrelabelError as error:
            taken.text += f": {error}"
            return False
    problems = [run.message] if run.message else []
    problems += [f"{error['count']} failed: {error['reason']}" for error in work.runs.errors(run.id)]
    if run.state == "paused":
        problems.append(f"it is paused: python -m prelabel resume {run.id}")
    elif run.state not in ENDED:
        problems.append(f"it is not over yet: python -m prelabel status {run.id}")
    for problem in problems:
        remark(problem)
    return run.state == "succeeded" and not problems


def _label(project: int, work: Services, taken: Step, require_servers: Callable[[], None]) -> Run:
    """A run of ours as it stands in the end, or when patience is.

    One that is going already, since an earlier start was interrupted in it, is waited for: a worker takes it up by
    itself. What it leaves is then labelled, for it may have been another model's.
    """
    begun, ends = taken.text, time.monotonic() + PATIENCE_S
    while True:
        try:
            run, is_ours = control.start(work, RunOptions(project, limit=LABELED_AT_MOST)), True
        except RunExists as error:
            run, is_ours = work.runs.get(error.run_id), False
        while run.state not in RESTING and time.monotonic() < ends:
            time.sleep(LOOK_S)
            require_servers()
            run = work.runs.get(run.id)
            _tell(taken, begun, run)
        if is_ours or run.state not in ENDED:
            return run


def _tell(taken: Step, begun: str, run: Run) -> None:
    counts = [f"{count} {name}" for name in ("labeled", "abstained", "failed") if (count := run.counts[name])]
    if counts:
        taken.text = f"{begun}: {', '.join(counts)}"
