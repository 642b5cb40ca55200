"""What Label Studio's webhooks say to what prelabel learns: examples, and prompts that people submit.

Each event is written at once, since Label Studio waits a second for an answer and never sends an event twice. What
takes longer (reading a whole project, moving titles) is left to a worker. Events may be missed; ``rebuild`` reads
everything again from Label Studio.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from prelabel.core.types import Annotation
from prelabel.errors import RequestError
from prelabel.project import Project
from prelabel.service import Service
from prelabel.store.annotations import Annotations, Emptied
from prelabel.store.keys import ProjectRef
from prelabel.store.projects import Projects
from prelabel.store.prompts import Prompts
from prelabel.store.runs import Runs
from prelabel.studio.annotations import (
    read_annotation,
    read_past_prediction,
    read_prompt,
    read_regions,
    read_time,
)
from prelabel.studio.tickets import read_id, task_id

log = logging.getLogger(__name__)

SETTLED_PREDICTIONS = 50
"""From this many predictions on, a submitted prompt is no longer taken up by itself (``PROMPT_PROMOTION=auto``)."""

OTHER_EVENTS = frozenset(
    {"TASKS_CREATED", "PROJECT_CREATED", "PROJECT_DELETED"}
    | {"LABEL_LINK_CREATED", "LABEL_LINK_UPDATED", "LABEL_LINK_DELETED"}
)
"""What Label Studio tells as well, and nothing is to be learnt from."""

Event = Mapping[str, Any]
Pair = tuple[Mapping[str, Any], Mapping[str, Any]]
"""An annotation and its task, as Label Studio writes them."""


class Jobs(Protocol):
    """Where slower work is left."""

    def put(self, job: str, ref: ProjectRef, *arguments: str) -> None:
        """Have a worker do it; one that waits already is enough."""


class Studio(Protocol):
    """What learning needs of Label Studio."""

    def whoami(self) -> int: ...
    def annotated_tasks(self, project_id: int) -> Iterator[dict[str, Any]]: ...


class Learning:
    """What is learnt from the people who label."""

    def __init__(
        self,
        service: Service,
        projects: Projects,
        prompts: Prompts,
        annotations: Annotations,
        runs: Runs,
        jobs: Jobs,
    ) -> None:
        self._service = service
        self._projects = projects
        self._prompts = prompts
        self._annotations = annotations
        self._runs = runs
        self._jobs = jobs

    def receive(self, event: str, data: Event) -> str:
        """Take in one of Label Studio's events; returns in a word what was done.

        :raises RequestError: the event lacks what it is about.
        :raises StoreUnavailable: Redis is away, so nothing was kept.
        """
        ref = self._projects.resolve(read_project(data))
        match event:
            case "ANNOTATION_CREATED" | "ANNOTATION_UPDATED" | "ANNOTATIONS_CREATED" | "ANNOTATIONS_UPDATED":
                return self._learn(ref, data)
            case "ANNOTATIONS_DELETED":
                self._annotations.delete(ref, _ids(data, "annotations"))
                return "forgotten"
            case "TASKS_DELETED":
                tasks = _ids(data, "tasks")
                self._annotations.delete(ref, self._annotations.of_tasks(ref, tasks))
                self._projects.forget_tasks(ref, tasks)
                self._runs.forget_tasks(tasks)
                return "forgotten"
            case "PROJECT_UPDATED":
                self._keep_step(self._open(ref, data))
                return "noted"
            case "START_TRAINING":
                self._jobs.put("rebuild", ref)
                return "queued"
            case _ if event in OTHER_EVENTS:
                return "ignored"
            case _:
                raise RequestError("action", f"{event[:40]!r} is no event of Label Studio's")

    def rebuild(self, ref: ProjectRef, label_config: str, studio: Studio) -> int:
        """Read all annotations of a project again, so that nothing missed is lost, and begin a new generation.

        Prompts found are kept as versions, but none is promoted. Annotations that have changed meanwhile keep their
        newer state. Returns how many are kept.

        :raises StudioError: Label Studio could not be read; what was known stays, and so does the generation.
        """
        project = self._service.open(ref, label_config)
        known = {annotation.id for annotation in self._annotations.changes(ref).put}
        own_user, found = studio.whoami(), set[int]()
        for task in studio.annotated_tasks(ref.id):
            pairs = [(annotation, task) for annotation in _objects(task.get("annotations"))]
            predictions = _objects(task.get("predictions"))
            states = self._read(project, pairs, own_user=own_user, predictions=predictions)
            self._annotations.put(ref, states.values())
            found |= {number for number, state in states.items() if isinstance(state, Annotation)}
            for annotation, _ in pairs:
                self._keep_prompt(project, annotation)
        self._annotations.drop(ref, known - found)
        self._projects.begin_generation(ref)
        log.info("project %s: %d annotations read from Label Studio; a new generation begins", ref.id, len(found))
        return len(found)

    def _learn(self, ref: ProjectRef, data: Event) -> str:
        project = self._open(ref, data)
        pairs = _pairs(data)
        states = self._read(project, pairs, own_user=project.state.own_user)
        news = dict(zip(states, self._annotations.put(project.ref, states.values()), strict=True))
        for annotation, _ in pairs:
            number = read_id(annotation.get("id"))
            if number is not None and news.get(number) and _is_persons(states[number]):
                self._take_prompt(project, annotation)
        return "learnt"

    def _read(
        self,
        project: Project,
        pairs: Sequence[Pair],
        *,
        own_user: int | None,
        predictions: Sequence[Mapping[str, Any]] = (),
    ) -> dict[int, Annotation | Emptied]:
        """What each annotation holds now, by its id, with what had been predicted before it was first made.

        :param predictions: those of the annotations' task that Label Studio still has.
        """
        ref = project.ref
        numbers = [number for _, task in pairs if (number := task_id(task)) is not None]
        kept = self._annotations.get(
            ref, [number for each, _ in pairs if (number := read_id(each.get("id"))) is not None]
        )
        last, withheld = self._projects.predicted(ref, numbers), self._projects.withheld(ref, numbers)
        states: dict[int, Annotation | Emptied] = {}
        for annotation, task in pairs:
            number, task_number = read_id(annotation.get("id")), task_id(task)
            if number is None or task_number is None:
                continue
            first = kept[number].predicted if number in kept else None
            past = first or read_past_prediction(annotation, predictions, project.config) or last.get(task_number)
            learnt = read_annotation(
                annotation,
                task,
                project.config,
                predicted=past,
                withheld=task_number in withheld,
                own_user=own_user,
                known=kept[number].source if number in kept else None,
            )
            states[number] = learnt or Emptied(number, task_number, read_time(annotation.get("updated_at")))
        return states

    def _take_prompt(self, project: Project, annotation: Mapping[str, Any]) -> None:
        """Keep the prompt that was submitted with an annotation, and make it the project's if it is to be."""
        version = self._keep_prompt(project, annotation)
        if version and self._is_promoted(project) and self._prompts.promote(project.ref, version):
            log.info("project %s: prompt version %d is the project's now", project.ref.id, version)
            self._jobs.put("sync_title", project.ref)

    def _keep_prompt(self, project: Project, annotation: Mapping[str, Any]) -> int:
        """The version of the prompt that came with ``annotation``; 0 if none did, or none that is news."""
        text, number = read_prompt(read_regions(annotation), project.config), read_id(annotation.get("id"))
        if annotation.get("was_cancelled") or not text or number is None:
            return 0
        version = self._prompts.add(project.ref, text, read_id(annotation.get("completed_by"))).version
        return version if self._prompts.note_submission(project.ref, number, version) else 0

    def _is_promoted(self, project: Project) -> bool:
        promotion = project.settings.prompt_promotion
        if promotion == "auto":
            return self._projects.count_predicted(project.ref, project.version) < SETTLED_PREDICTIONS
        return promotion == "submit"

    def _keep_step(self, project: Project) -> None:
        """Label Studio shows no scores unless title and version are the same, so a moved version moves the title."""
        if project.state.backend_url and project.state.title != project.version:
            self._jobs.put("sync_title", project.ref)

    def _open(self, ref: ProjectRef, data: Event) -> Project:
        return self._service.open(ref, data["project"].get("label_config") or "")


def read_project(data: Event) -> ProjectRef:
    """The project an event is about, as ``/predict`` names it.

    :raises RequestError: the event names none.
    """
    project = data.get("project")
    number = read_id(project.get("id")) if isinstance(project, Mapping) else None
    if not isinstance(project, Mapping) or number is None:
        raise RequestError("project", "the event names no project: project.id is missing")
    return ProjectRef(number, int(read_time(project.get("created_at"))))


def _pairs(data: Event) -> list[Pair]:
    """Each annotation with its task: one of each, or lists of them (``ANNOTATIONS_CREATED``).

    :raises RequestError: there is no annotation, or none that has its task with it.
    """
    annotations, tasks = _objects(data.get("annotation")), _objects(data.get("task"))
    if not annotations:
        raise RequestError("annotation", "the event holds no annotation")
    if len(annotations) == len(tasks) == 1:
        return [(annotations[0], tasks[0])]
    by_id = {number: task for task in tasks if (number := task_id(task)) is not None}
    pairs = [(each, by_id[number]) for each in annotations if (number := _task_of(each)) in by_id]
    if not pairs:
        raise RequestError("task", "the event holds no task that its annotation belongs to")
    return pairs


def _task_of(annotation: Mapping[str, Any]) -> int | None:
    task = annotation.get("task")
    return task_id(task) if isinstance(task, Mapping) else read_id(task)


def _is_persons(state: Annotation | Emptied) -> bool:
    """Whether a person is behind it: what was accepted in bulk carries its prediction's regions."""
    return isinstance(state, Emptied) or state.source.is_person


def _objects(value: Any) -> list[Mapping[str, Any]]:
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, Mapping)]


def _ids(data: Event, name: str) -> list[int]:
    """:raises RequestError: there is no list under ``name``."""
    if not isinstance(data.get(name), list):
        raise RequestError(name, f"the event holds no list of {name}")
    return [number for item in _objects(data[name]) if (number := read_id(item.get("id"))) is not None]
