"""What prelabel does for Label Studio: predictions for tasks, an answer to a typed prompt, a project's version.

The way of every ticket, whoever asks for it: task → ticket → examples → prompt → LLM → answer → outcome. Only where
tasks come from and where predictions go differs.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from prelabel.asking import Assignment, ask
from prelabel.config import Settings
from prelabel.core.types import Abstained, Failed, Labeled, Outcome, Prediction, Ticket, Withheld
from prelabel.errors import InvalidPrediction, LLMError, StoreUnavailable
from prelabel.examples import Examples
from prelabel.llm.loop import LLM
from prelabel.store.keys import ProjectRef
from prelabel.store.projects import Projects, ProjectState
from prelabel.studio.annotations import read_prompt, read_regions
from prelabel.studio.label_config import LabelConfig, parse_label_config
from prelabel.studio.predictions import Item, batch_item, interactive_item
from prelabel.studio.tickets import read_ticket, task_id
from prelabel.versions import model_version

log = logging.getLogger(__name__)

GRACE_S = 2.0
"""How much longer than its deadline asking may take before it is given up on as a whole."""


@dataclass(frozen=True, slots=True)
class Project:
    """A project as it stands: its config, its settings over the environment's, its version."""

    state: ProjectState
    config: LabelConfig
    settings: Settings
    version: str

    @property
    def ref(self) -> ProjectRef:
        return self.state.ref

    @property
    def prompt(self) -> str:
        return self.state.prompt.text if self.state.prompt else self.settings.default_prompt_text


class Service:
    """The heart of the backend; one a process, shared by its threads."""

    def __init__(self, settings: Settings, projects: Projects, examples: Examples, llm: LLM) -> None:
        self._settings = settings
        self._projects = projects
        self._examples = examples
        self._llm = llm
        self._last_known: dict[int, ProjectState] = {}

    def open(self, ref: ProjectRef, label_config: str) -> Project:
        """The project now; while Redis is away, as it was known last.

        :raises LabelConfigError: the config cannot be answered.
        :raises StoreUnavailable: Redis is away and this process has never met the project.
        """
        config = parse_label_config(label_config, self._settings.prompt_prefix)
        try:
            state = self._projects.state(self._projects.resolve(ref))
            self._last_known[ref.id] = state
        except StoreUnavailable as error:
            known = self._last_known.get(ref.id)
            if known is None or (ref.created and known.ref.created != ref.created):
                raise
            log.warning("project %s as it was known last: %s", ref.id, error)
            state = known
        return self._project(state, config)

    def predict(self, ref: ProjectRef, label_config: str, tasks: Sequence[Any]) -> list[Item]:
        """One item per task, in order, within the deadline."""
        started = time.monotonic()
        try:
            project = self.open(ref, label_config)
        except StoreUnavailable as error:
            log.warning("project %s: no prediction for %d tasks: %s", ref.id, len(tasks), error)
            return [{} for _ in tasks]
        settings = self._settings
        deadline_s = settings.predict_deadline_single if len(tasks) == 1 else settings.predict_deadline
        outcomes = self.label_tasks(project, tasks, deadline_s=deadline_s)
        self._keep(project, tasks, outcomes)
        _log_outcomes(project, outcomes, time.monotonic() - started)
        return [_item(outcome, project) for outcome in outcomes]

    def predict_interactive(
        self, ref: ProjectRef, label_config: str, task: Mapping[str, Any], context: Mapping[str, Any]
    ) -> Item:
        """The reply to the prompt in ``context``; nothing, and no question to the LLM, where there is none."""
        try:
            project = self.open(ref, label_config)
        except StoreUnavailable as error:
            log.warning("project %s: a typed prompt is answered without its examples: %s", ref.id, error)
            config = parse_label_config(label_config, self._settings.prompt_prefix)
            project = self._project(ProjectState(ref), config)
        prompt = read_prompt(read_regions(context), project.config)
        if not prompt:
            return {"result": []}
        with_comment = project.config.response_field is not None
        deadline_s = self._settings.predict_deadline_single
        outcomes = self.label_tasks(project, [task], prompt=prompt, with_comment=with_comment, deadline_s=deadline_s)
        _log_outcomes(project, outcomes)
        return interactive_item(outcomes[0], project.config, prompt, project.version)

    def label_tasks(
        self,
        project: Project,
        tasks: Sequence[Any],
        *,
        deadline_s: float,
        prompt: str | None = None,
        with_comment: bool = False,
    ) -> list[Outcome]:
        """An outcome per task, in order.

        :param prompt: to be used in place of the project's.
        :param with_comment: ask the LLM for a sentence on each answer.
        """
        outcomes: list[Outcome | Ticket] = [_read(task, project.config) for task in tasks]
        outcomes = self._withhold(project, outcomes)
        tickets = [outcome for outcome in outcomes if isinstance(outcome, Ticket)]
        text = project.prompt if prompt is None else prompt
        answers = iter(self._ask(project, tickets, text, with_comment=with_comment, deadline_s=deadline_s))
        return [next(answers) if isinstance(outcome, Ticket) else outcome for outcome in outcomes]

    def _ask(
        self, project: Project, tickets: Sequence[Ticket], prompt: str, *, with_comment: bool, deadline_s: float
    ) -> list[Outcome]:
        if not tickets:
            return []
        settings = project.settings
        assignment = Assignment(
            project.config.questions,
            prompt,
            settings.prompt_template if settings.use_internal_prompt_template else prompt,
            with_comment,
            settings.llm_tasks_per_request,
            settings.llm_max_input_tokens,
        )
        examples = self._examples.nearest(project.ref, assignment.questions, tickets, settings.few_shot_examples)
        work = partial(ask, assignment=assignment, tickets=tickets, examples=examples, deadline_s=deadline_s)
        try:
            return self._llm.run(settings, work, deadline_s + GRACE_S)
        except (LLMError, TimeoutError) as error:
            return [Failed(str(error) or "the LLM was not asked in time") for _ in tickets]

    def _withhold(self, project: Project, outcomes: Sequence[Outcome | Ticket]) -> list[Outcome | Ticket]:
        numbers = [item.task_id for item in outcomes if isinstance(item, Ticket) and item.task_id is not None]
        try:
            withheld = self._projects.withheld(project.ref, numbers)
        except StoreUnavailable:
            return list(outcomes)
        return [Withheld() if isinstance(item, Ticket) and item.task_id in withheld else item for item in outcomes]

    def _keep(self, project: Project, tasks: Sequence[Any], outcomes: Sequence[Outcome]) -> None:
        said = {
            number: prediction
            for task, outcome in zip(tasks, outcomes, strict=True)
            if isinstance(task, Mapping)
            and (number := task_id(task)) is not None
            and (prediction := _prediction(outcome, project.version)) is not None
        }
        try:
            self._projects.keep_predictions(project.ref, project.version, said)
        except StoreUnavailable as error:
            log.warning("project %s: what was predicted is not kept: %s", project.ref.id, error)

    def _project(self, state: ProjectState, config: LabelConfig) -> Project:
        settings = self._settings.with_overrides(state.settings)
        return Project(state, config, settings, model_version(settings, state, config))


def _read(task: Any, config: LabelConfig) -> Ticket | Abstained | Failed:
    return read_ticket(task, config) if isinstance(task, Mapping) else Failed("the task is no object")


def _item(outcome: Outcome, project: Project) -> Item:
    try:
        return batch_item(outcome, project.config, project.version)
    except InvalidPrediction:
        log.exception("project %s: a prediction of ours is not sent", project.ref.id)
        return {}


def _prediction(outcome: Outcome, version: str) -> Prediction | None:
    match outcome:
        case Labeled(labels=labels, score=score):
            return Prediction(labels, score, version)
        case Abstained():
            return Prediction({}, 0.0, version)
        case _:
            return None


def _log_outcomes(project: Project, outcomes: Sequence[Outcome], seconds: float | None = None) -> None:
    """One line of counts, and one per reason for what got no label; never a ticket's text."""
    kinds = [type(outcome).__name__.lower() for outcome in outcomes]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    log.info(
        "project %s: %d tasks: %s%s", project.ref.id, len(outcomes), counts, f", {seconds:.2f} s" if seconds else ""
    )
    reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, Failed | Abstained)]
    for reason in dict.fromkeys(reasons):
        log.warning("project %s: %d tasks without label: %s", project.ref.id, reasons.count(reason), reason)
