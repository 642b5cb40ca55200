"""Each project: still in Label Studio, with a label config that can be answered, and an LLM of its own that answers.

How it stands there is ``connection``'s to judge. Nothing is written, neither there nor in Redis.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from prelabel.bootstrap import Services
from prelabel.config import Settings
from prelabel.doctor.connection import Case, check_connection
from prelabel.doctor.cures import CONNECT
from prelabel.doctor.findings import Finding, failed, ok, warning
from prelabel.doctor.llm import check_llm
from prelabel.errors import LabelConfigError, SettingsError, StudioError
from prelabel.guidance.notes import Guidance
from prelabel.guidance.rules import RuleSource
from prelabel.project import Project
from prelabel.quality.calibrator import MIN_EVIDENCE
from prelabel.running import RunningBackend, difference
from prelabel.store.keys import ProjectRef
from prelabel.studio.client import StudioClient
from prelabel.studio.rows import StudioProject

MOST_RULES = 5
"""Told of one by one."""


@dataclass(frozen=True, slots=True)
class Ward:
    """What the checks of all projects share."""

    work: Services
    client: StudioClient
    in_container: bool
    backend: RunningBackend | str
    """Or why there is none to be asked."""


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
        left_out = RuleSource().left_out(project.settings, project.config.questions)
    except LabelConfigError as error:
        cure = "change it in the project's Settings > Labeling Interface"
        yield failed(f"{name} label config", str(error), cure)
    except SettingsError as error:
        cure = f"correct it: {CONNECT.format(ref.id)} --set NAME=VALUE (nothing after the = takes it back)"
        yield failed(f"{name} settings", str(error), cure)
    else:
        yield ok(f"{name} label config", f"{found.title!r}: {_questions(project)}")
        if left_out:
            yield _left_out(name, left_out)
        yield from _check_own_llm(ward, name, project)
        yield _scores(ward, name, project)
        version = yield from _check_shell(ward, name, found, project)
        no_backend = ward.backend if isinstance(ward.backend, str) else ""
        case = Case(found, project, version, ward.work.settings, ward.in_container, no_backend)
        try:
            yield from check_connection(case, ward.client)
        except StudioError as error:
            yield failed(name, error.message, error.cure)


def _gone(name: str, ref: ProjectRef, error: StudioError) -> Finding:
    if error.status == 404 and ref.created:
        cure = f"python -m prelabel forget --project {ref.id}"
        return failed(name, "Label Studio no longer has it, or does not show it to the token's user", cure)
    return failed(name, error.message, error.cure)


def _left_out(name: str, rules: Sequence[str]) -> Finding:
    more = f"; and {len(rules) - MOST_RULES} more" if len(rules) > MOST_RULES else ""
    told = f"these rules of RULES_FILE are not used: {'; '.join(rules[:MOST_RULES])}{more}"
    return warning(f"{name} rules", told, "correct them in RULES_FILE, unless they are for another project")


def _check_own_llm(ward: Ward, name: str, project: Project) -> Iterator[Finding]:
    """A project that names another LLM than the environment has it tried, too."""
    if _llm(project.settings) != _llm(ward.work.settings):
        yield from check_llm(project.settings, f"{name} llm", in_container=ward.in_container)
    own = project.settings.escalation_model
    if own and own != ward.work.settings.escalation_model and project.settings.uses_llm:
        yield from check_llm(project.settings.escalated(), f"{name} llm escalation", in_container=ward.in_container)


def _scores(ward: Ward, name: str, project: Project) -> Finding:
    """By what scores are made. Without evidence they are no less usable than any LLM's, so that nothing is wrong."""
    if project.scoring.evidence:
        return ok(f"{name} scores", f"calibrated by {project.scoring.evidence} tasks labelled blind")
    count = ward.work.evidence.count(project)
    told = f"not calibrated: {count} tasks are labelled blind, and it takes {MIN_EVIDENCE}"
    if count >= MIN_EVIDENCE:
        told = f"not calibrated yet by the {count} tasks labelled blind: the next run does it, or run --rescore"
    return ok(f"{name} scores", told)


def _check_shell(ward: Ward, name: str, found: StudioProject, project: Project) -> Generator[Finding, None, str]:
    """Whether this shell's settings are the backend's, as far as the project's version tells.

    :returns: the version to judge by: the backend's where it can be asked. A project that is not connected is not asked
        about, since the backend would take it up.
    """
    if isinstance(ward.backend, str) or not project.state.backend_url:
        return project.version
    theirs = ward.backend.version_of(found)
    if theirs and theirs != project.version:
        yield warning(f"{name} settings", *difference(found.id, project.version, theirs))
    return theirs or project.version


def _llm(settings: Settings) -> tuple[object, ...]:
    return settings.openai_provider, settings.llm_url, settings.openai_api_key, settings.openai_model


def _questions(project: Project) -> str:
    return ", ".join(f"{question.name} ({len(question.labels)} labels)" for question in project.config.questions)
