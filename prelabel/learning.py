"""What Label Studio's webhooks say to what prelabel learns: examples, and prompts that people submit.

Each event is written at once, since Label Studio waits a second for an answer and never sends an event twice. What
takes longer (reading a whole project, moving titles) is left to a worker. Events may be missed; ``rebuild`` reads
everything again from Label Studio.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from prelabel.core.types import Annotation
from prelabel.errors import RequestError
from prelabel.labeling import Project
from prelabel.service import Service
from prelabel.store.annotations import Annotations
from prelabel.store.keys import ProjectRef
from prelabel.store.projects import Projects
from prelabel.store.prompts import Prompts
from prelabel.studio.annotations import (
    read_annotation,
    read_past_prediction,
    read_prompt,
    read_regions,
    read_time,
)

log = logging.getLogger(__name__)

SETTLED_PREDICTIONS = 50
"""From this many predictions on, a submitted prompt is no longer taken up by itself (``PROMPT_PROMOTION=auto``)."""

Event = Mapping[str, Any]


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
        self, service: Service, projects: Projects, prompts: Prompts, annotations: Annotations, jobs: Jobs
    ) -> None:
        self._service = service
        self._projects = projects
        self._prompts = prompts
        self._annotations = annotations
        self._jobs = jobs

    def receive(self, event: str, data: Event) -> str:
        """Take in one of Label Studio's events; returns in a word what was done.

        :raises RequestError: the event lacks what it is about.
        :raises StoreUnavailable: Redis is away, so nothing was kept.
        """
        ref = read_project(data)
        match event:
            case "ANNOTATION_CREATED" | "ANNOTATION_UPDATED" | "ANNOTATIONS_CREATED":
                return self._learn(ref, data)
            case "ANNOTATIONS_DELETED":
                self._annotations.delete(ref, _ids(data, "annotations", "annotation"))
                return "forgotten"
            case "TASKS_DELETED":
                tasks = _ids(data, "tasks", "task")
                self._annotations.delete_tasks(ref, tasks)
                self._projects.forget_tasks(ref, tasks)
                return "forgotten"
            case "PROJECT_UPDATED":
                self._keep_step(self._open(ref, data))
                return "noted"
            case "START_TRAINING":
                self._jobs.put("rebuild", ref)
                return "queued"
            case _:
                return "ignored"

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
            for annotation in _objects(task.get("annotations")):
                self._keep_prompt(project, annotation)
            annotations = list(self._from_listing(project, task, own_user))
            self._annotations.put(ref, annotations)
            found.update(annotation.id for annotation in annotations)
        self._annotations.delete(ref, known - found)
        self._projects.begin_generation(ref)
        log.info("project %s: %d annotations read from Label Studio; a new generation begins", ref.id, len(found))
        return len(found)

    def _learn(self, ref: ProjectRef, data: Event) -> str:
        project = self._open(ref, data)
        pairs = _pairs(data)
        numbers = [task["id"] for _, task in pairs if isinstance(task.get("id"), int)]
        predicted, withheld = self._projects.predicted(ref, numbers), self._projects.withheld(ref, numbers)
        kept, gone = [], []
        for annotation, task in pairs:
            learnt = read_annotation(
                annotation,
                task,
                project.config,
                predicted=predicted.get(task.get("id", 0)),
                withheld=task.get("id") in withheld,
                own_user=project.state.own_user,
            )
            if learnt:
                kept.append(learnt)
            elif isinstance(annotation.get("id"), int):
                gone.append(annotation["id"])
        self._annotations.put(ref, kept)
        self._annotations.delete(ref, gone)
        for annotation, _ in pairs:
            self._take_prompt(project, annotation)
        return "learnt"

    def _take_prompt(self, project: Project, annotation: Mapping[str, Any]) -> None:
        """Keep the prompt that was submitted with an annotation, and make it the project's if it is to be."""
        version = self._keep_prompt(project, annotation)
        if version and self._is_promoted(project) and self._prompts.promote(project.ref, version):
            log.info("project %s: prompt version %d is the project's now", project.ref.id, version)
            self._jobs.put("sync_title", project.ref)

    def _keep_prompt(self, project: Project, annotation: Mapping[str, Any]) -> int:
        """The version of the prompt that came with ``annotation``; 0 if none did, or none that is news."""
        text, number = read_prompt(read_regions(annotation), project.config), annotation.get("id")
        if annotation.get("was_cancelled") or not text or not isinstance(number, int):
            return 0
        author = annotation.get("completed_by")
        version = self._prompts.add(project.ref, text, author if isinstance(author, int) else None).version
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

    def _from_listing(self, project: Project, task: Mapping[str, Any], own_user: int) -> Iterator[Annotation]:
        number = task["id"]
        last = self._projects.predicted(project.ref, [number]).get(number)
        withheld = number in self._projects.withheld(project.ref, [number])
        for annotation in _objects(task.get("annotations")):
            past = read_past_prediction(annotation, _objects(task.get("predictions")), project.config) or last
            learnt = read_annotation(
                annotation, task, project.config, predicted=past, withheld=withheld, own_user=own_user
            )
            if learnt:
                yield learnt


def read_project(data: Event) -> ProjectRef:
    """The project an event is about, as ``/predict`` names it.

    :raises RequestError: the event names none.
    """
    project = data.get("project")
    number = project.get("id") if isinstance(project, Mapping) else None
    if not isinstance(project, Mapping) or not isinstance(number, int) or isinstance(number, bool):
        raise RequestError("project", "the event names no project: project.id is missing")
    return ProjectRef(number, int(read_time(project.get("created_at"))))


def _pairs(data: Event) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Each annotation with its task: one of each, or lists of them (``ANNOTATIONS_CREATED``)."""
    annotations, tasks = _objects(data.get("annotation")), _objects(data.get("task"))
    if not annotations:
        raise RequestError("annotation", "the event holds no annotation")
    by_id = {task.get("id"): task for task in tasks}
    if len(annotations) == len(tasks) == 1:
        return [(annotations[0], tasks[0])]
    return [(each, by_id[_task_of(each)]) for each in annotations if _task_of(each) in by_id]


def _task_of(annotation: Mapping[str, Any]) -> Any:
    task = annotation.get("task")
    return task.get("id") if isinstance(task, Mapping) else task


def _objects(value: Any) -> list[Mapping[str, Any]]:
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, Mapping)]


def _ids(data: Event, *names: str) -> list[int]:
    found = [item for name in names for item in _objects(data.get(name))]
    return [item["id"] for item in found if isinstance(item.get("id"), int)]
