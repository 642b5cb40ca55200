"""What prelabel does for Label Studio: predictions for tasks, an answer to a typed prompt, a project's version."""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, assert_never

from prelabel.config import Method, Settings
from prelabel.core.types import Abstained, Failed, Labeled, Outcome, Prediction, Withheld
from prelabel.errors import InvalidPrediction, StoreUnavailable
from prelabel.labeling import Labeler
from prelabel.project import Project
from prelabel.store.keys import ProjectRef
from prelabel.store.projects import Projects, ProjectState
from prelabel.studio.annotations import read_prompt, read_regions
from prelabel.studio.label_config import parse_label_config
from prelabel.studio.predictions import Item, batch_item, interactive_item, message_item
from prelabel.studio.tickets import task_id

log = logging.getLogger(__name__)

Asked = Literal["batch", "single", "interactive"]
"""What a request to ``/predict`` is about: several tasks, one, or a prompt that was typed."""
Said = Literal["labeled", "abstained", "withheld", "failed", "not_reached"]
"""What became of a task."""


class Meter(Protocol):
    """Counts what Label Studio is answered."""

    def predicted(self, asked: Asked, said: Mapping[Said, int], seconds: float) -> None:
        """A request was answered, with so many tasks of each kind, after so long."""

    def declined(self, tasks: int) -> None:
        """A request about so many tasks was turned away."""


class Rest(Protocol):
    """Who takes on what was not reached."""

    def take(self, ref: ProjectRef, tasks: Sequence[int]) -> None:
        """These tasks, by id."""


class Service:
    """One a process, shared by its threads.

    :param rest: None if what is not reached is left until Label Studio asks again.
    """

    def __init__(
        self, settings: Settings, projects: Projects, labeler: Labeler, meter: Meter, rest: Rest | None = None
    ) -> None:
        self._settings = settings
        self._projects = projects
        self._labeler = labeler
        self._meter = meter
        self._rest = rest
        self._last_known: dict[int, ProjectState] = {}

    def open(self, ref: ProjectRef, label_config: str, method: Method | None = None) -> Project:
        """The project now; while Redis is away, as it was known last.

        :param method: who would label, where that is not the project's own.
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
        if method:
            state = replace(state, settings={**state.settings, "LABELING_METHOD": method})
        return Project.of(state, config, self._settings)

    def predict(self, ref: ProjectRef, label_config: str, tasks: Sequence[Any]) -> list[Item]:
        """One item per task, in order, within the deadline."""
        started = time.monotonic()
        asked: Asked = "single" if len(tasks) == 1 else "batch"
        try:
            project = self.open(ref, label_config)
        except StoreUnavailable as error:
            log.warning("project %s: no prediction for %d tasks: %s", ref.id, len(tasks), error)
            self._meter.predicted(asked, {"failed": len(tasks)}, time.monotonic() - started)
            return [{} for _ in tasks]
        settings = self._settings
        deadline_s = settings.predict_deadline_single if len(tasks) == 1 else settings.predict_deadline
        self._note_live(project, tasks)
        left_s = started + deadline_s - time.monotonic()
        outcomes = self._labeler.label_tasks(project, tasks, withheld=project.state.withheld, deadline_s=left_s)
        outcomes = self._to_be_shown(project, tasks, outcomes)
        self._keep(project, tasks, outcomes)
        self._end_live(project, tasks, outcomes)
        seconds = time.monotonic() - started
        self._meter.predicted(asked, Counter(map(_said, outcomes)), seconds)
        _log_outcomes(project, outcomes, seconds)
        return [_item(outcome, project) for outcome in outcomes]

    def predict_interactive(
        self, ref: ProjectRef, label_config: str, task: Mapping[str, Any], context: Mapping[str, Any]
    ) -> Item:
        """The reply to the prompt in ``context``; nothing, and no question to the LLM, where there is none."""
        started = time.monotonic()
        try:
            project = self.open(ref, label_config)
        except StoreUnavailable as error:
            log.warning("project %s: a typed prompt is answered without its examples: %s", ref.id, error)
            config = parse_label_config(label_config, self._settings.prompt_prefix)
            project = Project.of(ProjectState(ref), config, self._settings)
        prompt = read_prompt(read_regions(context), project.config)
        if not prompt:
            return {"result": []}
        outcomes = self._labeler.label_tasks(
            project,
            [task],
            deadline_s=self._settings.predict_deadline_single,
            withheld=project.state.withheld,
            prompt=prompt,
            with_comment=project.config.response_field is not None,
        )
        outcomes = self._to_be_shown(project, [task], outcomes)
        self._meter.predicted("interactive", Counter(map(_said, outcomes)), time.monotonic() - started)
        _log_outcomes(project, outcomes)
        return interactive_item(outcomes[0], project.config, prompt, project.version)

    def decline(
        self, ref: ProjectRef, label_config: str, tasks: Sequence[Any], context: Mapping[str, Any] | None
    ) -> list[Item]:
        """The answer while too many predictions are being made: nothing, so that Label Studio may ask again."""
        log.warning("%d tasks are not answered: too many predictions at once (THREADS)", len(tasks))
        self._meter.declined(len(tasks))
        if context is None:
            numbers = [task_id(task) for task in tasks if isinstance(task, Mapping)]
            late = [number for number in numbers if number is not None]
            if late and self._rest:
                self._rest.take(ref, late)
            return [{} for _ in tasks]
        config = parse_label_config(label_config, self._settings.prompt_prefix)
        return [message_item(config, "No answer: too much is going on at the moment; try again.")]

    def _to_be_shown(self, project: Project, tasks: Sequence[Any], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes, but for tasks that were withheld while they were asked about."""
        numbers = [task_id(task) if isinstance(task, Mapping) else None for task in tasks]
        try:
            withheld = self._projects.withheld(project.ref, [number for number in numbers if number is not None])
        except StoreUnavailable as error:
            log.warning("project %s: which tasks were withheld meanwhile is not known: %s", project.ref.id, error)
            return list(outcomes)
        if withheld - project.state.withheld:  # known, should Redis go away now
            state = replace(project.state, withheld=project.state.withheld | withheld)
            self._last_known[project.ref.id] = state
        return [
            Withheld() if number in withheld else outcome for number, outcome in zip(numbers, outcomes, strict=True)
        ]

    def _note_live(self, project: Project, tasks: Sequence[Any]) -> None:
        """Have bulk runs leave these alone, while they are asked about and while Label Studio stores the answers."""
        numbers = [task_id(task) for task in tasks if isinstance(task, Mapping)]
        try:
            self._projects.note_live(project.ref, [number for number in numbers if number is not None])
        except StoreUnavailable as error:
            log.warning("project %s: a bulk run may ask about the same tasks: %s", project.ref.id, error)

    def _end_live(self, project: Project, tasks: Sequence[Any], outcomes: Sequence[Outcome]) -> None:
        """What is answered Label Studio may store for a while yet; the rest is anybody's."""
        numbers: dict[bool, list[int]] = {True: [], False: []}
        late: list[int] = []
        for task, outcome in zip(tasks, outcomes, strict=True):
            if isinstance(task, Mapping) and (number := task_id(task)) is not None:
                numbers[isinstance(outcome, Labeled | Abstained)].append(number)
                if isinstance(outcome, Failed) and outcome.is_late:
                    late.append(number)
        try:
            self._projects.note_live(project.ref, numbers[True], no_more=numbers[False])
        except StoreUnavailable as error:
            log.warning("project %s: a bulk run may ask about the same tasks: %s", project.ref.id, error)
        if late and self._rest:
            self._rest.take(project.ref, late)

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


def _item(outcome: Outcome, project: Project) -> Item:
    try:
        return batch_item(outcome, project.config, project.version)
    except InvalidPrediction:
        log.exception("project %s: a prediction of ours is not sent", project.ref.id)
        return {}


def _prediction(outcome: Outcome, version: str) -> Prediction | None:
    match outcome:
        case Labeled(labels=labels, score=score, grounds=grounds):
            return Prediction(labels, score, version, grounds)
        case Abstained():
            return Prediction({}, 0.0, version)
        case _:
            return None


def _said(outcome: Outcome) -> Said:
    match outcome:
        case Labeled():
            return "labeled"
        case Abstained():
            return "abstained"
        case Withheld():
            return "withheld"
        case Failed(is_late=is_late):
            return "not_reached" if is_late else "failed"
        case _:
            assert_never(outcome)


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
