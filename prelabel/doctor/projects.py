"""Each project: still in Label Studio, with a label config that can be answered, and an LLM of its own that answers.

How it stands there is ``connection``'s to judge. Nothing is written, neither there nor in Redis.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from prelabel.bootstrap import Services
from prelabel.config import Settings
from prelabel.doctor.connection import Case, check_connection
from prelabel.doctor.cures import CONNECT
from prelabel.doctor.findings import Finding, failed, ok
from prelabel.doctor.llm import check_llm
from prelabel.errors import LabelConfigError, SettingsError, StudioError
from prelabel.guidance.notes import Guidance
from prelabel.project import Project
from prelabel.store.keys import ProjectRef
from prelabel.studio.client import StudioClient


@dataclass(frozen=True, slots=True)
class Ward:
    """What the checks of all projects share."""

    work: Services
    client: StudioClient
    in_container: bool
    no_backend: str
    """Why the backend does not answer; empty if it does."""


def check_project(ward: Ward, ref: ProjectRef) -> Iterator[Finding]:
    """:param ref: with the time it was made, 0 where this backend has never met it."""
    name = f"project {ref.id}"
    try:
        found = ward.client.project(ref.id)
    except StudioError as error:
        yield _gone(name, ref, error)
        return
    if found.created_unix != ref.created:
        told = "Label Studio has a newer project of this number" if ref.created else "it is not connected"
        yield failed(name, told, CONNECT.format(ref.id))
        return
    try:
        project = ward.work.service.open(ref, found.label_config)
        Guidance().check(project.settings)
    except LabelConfigError as error:
        cure = "change it in the project's Settings > Labeling Interface"
        yield failed(f"{name} label config", str(error), cure)
    except SettingsError as error:
        cure = f"correct it: {CONNECT.format(ref.id)} --set NAME=VALUE (nothing after the = takes it back)"
        yield failed(f"{name} settings", str(error), cure)
    else:
        yield ok(f"{name} label config", f"{found.title!r}: {_questions(project)}")
        yield from _check_own_llm(ward, name, project)
        case = Case(found, project, ward.work.settings, ward.in_container, ward.no_backend)
        try:
            yield from check_connection(case, ward.client)
        except StudioError as error:
            yield failed(name, error.message, error.cure)


def _gone(name: str, ref: ProjectRef, error: StudioError) -> Finding:
    if error.status == 404 and ref.created:
        cure = f"python -m prelabel forget --project {ref.id}"
        return failed(name, "Label Studio no longer has it, or does not show it to the token's user", cure)
    return failed(name, error.message, error.cure)


def _check_own_llm(ward: Ward, name: str, project: Project) -> Iterator[Finding]:
    """A project that names another LLM than the environment has it tried, too."""
    if _llm(project.settings) != _llm(ward.work.settings):
        yield from check_llm(project.settings, f"{name} llm", in_container=ward.in_container)


def _llm(settings: Settings) -> tuple[object, ...]:
    return settings.openai_provider, settings.llm_url, settings.openai_api_key, settings.openai_model


def _questions(project: Project) -> str:
    return ", ".join(f"{question.name} ({len(question.labels)} labels)" for question in project.config.questions)
