"""What is checked, in which order, and what is skipped because of what: the doctor's round.

Each piece is checked whatever became of the others, unless it cannot be without them. Findings come as they are made,
since a server that is silent takes its seconds.
"""

import time
from collections.abc import Generator, Iterator, Mapping
from typing import TypeVar

from prelabel.bootstrap import Services, build
from prelabel.doctor.backend import check_backend
from prelabel.doctor.configured import Read, check_listening, check_settings
from prelabel.doctor.findings import Finding, skipped, warning
from prelabel.doctor.llm import check_llm
from prelabel.doctor.projects import Ward, check_project
from prelabel.doctor.stored import check_redis, check_workers
from prelabel.doctor.studio import check_studio
from prelabel.store.keys import ProjectRef
from prelabel.studio.client import StudioClient

PROJECTS_S = 25.0
"""After this long no further project is begun, so that the whole stays under a minute."""
R = TypeVar("R")
ALL = ("redis", "workers", "llm", "label studio", "backend", "projects")


def examine(given: Mapping[str, str], *, project: int | None = None, in_container: bool = False) -> Iterator[Finding]:
    """All findings, as they are made.

    :param given: the settings' variables.
    :param project: look at this one only; otherwise at all that the backend has met.
    """
    read = yield from check_settings(given)
    if read is None:
        yield from (skipped(check, "the settings are wrong") for check in ALL)
        return
    work = build(read.settings)
    try:
        yield from _examine(work, read, project, in_container=in_container)
    finally:
        work.close()


def _examine(work: Services, read: Read, project: int | None, *, in_container: bool) -> Iterator[Finding]:
    if not read.why_not("backend"):
        yield from check_listening(read.settings)
    no_redis = yield from _unless(read.why_not("redis"), "redis", check_redis(work, in_container=in_container))
    yield from _unless(no_redis, "workers", check_workers(work))
    if why_not := read.why_not("llm"):
        yield skipped("llm", why_not)
    else:
        yield from check_llm(read.settings, "llm", in_container=in_container)
        if read.settings.escalation_model and read.settings.uses_llm:
            yield from check_llm(read.settings.escalated(), "llm escalation", in_container=in_container)
    client: StudioClient | str = read.why_not("label studio")
    if client:
        yield skipped("label studio", str(client))
    else:
        client = yield from check_studio(work, in_container=in_container)
    others_are_well = not no_redis and not isinstance(client, str)
    checking = check_backend(work, in_container=in_container, others_are_well=others_are_well)
    backend = yield from _unless(read.why_not("backend"), "backend", checking)
    because = no_redis or (client if isinstance(client, str) else "") or read.why_not("projects")
    if because or isinstance(client, str):
        yield skipped("projects", because)
    else:
        yield from _check_projects(Ward(work, client, in_container, backend), project)


def _unless(why_not: str, check: str, checking: Generator[Finding, None, R]) -> Generator[Finding, None, R | str]:
    if why_not:
        checking.close()
        yield skipped(check, why_not)
        return why_not
    return (yield from checking)


def _check_projects(ward: Ward, only: int | None) -> Iterator[Finding]:
    ends = time.monotonic() + PROJECTS_S
    refs = [ward.work.projects.resolve(ProjectRef(only))] if only is not None else ward.work.projects.known()
    if not refs:
        cure = "python -m prelabel connect --project ID, with the number in the project's address in the browser"
        yield warning("projects", "none is connected yet", cure)
    for ref in sorted(refs, key=lambda each: each.id):
        if time.monotonic() > ends:
            yield skipped(f"project {ref.id}", f"time is up; see it by: python -m prelabel doctor --project {ref.id}")
        else:
            yield from check_project(ward, ref)
