"""A project with tasks in the fake Label Studio, a worker's services, and what holds an LLM back."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from prelabel.bootstrap import Services, build
from prelabel.config import Settings
from prelabel.runs import control
from prelabel.runs.bulk import execute
from prelabel.runs.lease import leasing
from prelabel.store.ledger import PLAN, SHARD_TASKS, WRITE, Entry
from prelabel.store.run import Run, RunOptions
from tests.fakes.llm_policy import Verdict, by_words
from tests.fakes.llm_request import Asked
from tests.fakes.llm_server import FakeLLM
from tests.fakes.studio_server import FakeLabelStudio
from tests.fakes.studio_tasks import StudioTasks
from tests.integration.project_seven import REF, environment, project_seven

IN_HAND = 2 * SHARD_TASKS
"""Tasks that one worker is at, at once."""


@dataclass(frozen=True, slots=True)
class Site:
    """Project 7 in a Label Studio, and the services of a worker."""

    work: Services
    tasks: StudioTasks
    studio: FakeLabelStudio
    env: dict[str, str]
    aside: ThreadPoolExecutor

    def start(self, **options: bool | float | None) -> Run:
        return control.start(self.work, RunOptions(7, **options))  # type: ignore[arg-type]

    def doing(self, run: Run) -> Future[None]:
        """A worker is at the run, in a thread of its own."""
        return self.aside.submit(execute, self.work, run.id)

    def do(self, run: Run) -> Run:
        """The run, once a worker has been at it."""
        execute(self.work, run.id)
        return self.work.runs.get(run.id)

    def per_task(self) -> dict[int, int]:
        return dict(self.tasks.per_task(self.studio.projects[7]["model_version"]))


class Gate:
    """A policy that answers once it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, text: str, asked: Asked) -> Verdict:
        self.reached.set()
        assert self.opened.wait(20)
        return by_words(text, asked)


class TwoGates:
    """One for the first request, and one for all others."""

    def __init__(self) -> None:
        self.first, self.others = Gate(), Gate()
        self._first_texts: tuple[str, ...] = ()

    def __call__(self, text: str, asked: Asked) -> Verdict:
        self._first_texts = self._first_texts or asked.texts
        return (self.first if asked.texts == self._first_texts else self.others)(text, asked)


@pytest.fixture
def studio() -> Iterator[FakeLabelStudio]:
    with FakeLabelStudio() as studio:
        studio.projects[7] = project_seven()
        yield studio


Open = Callable[..., Site]


@pytest.fixture
def open_site(studio: FakeLabelStudio, redis_url: str, llm: FakeLLM) -> Iterator[Open]:
    """A site, with settings besides those that name the test's servers."""
    opened: list[Services] = []
    with ThreadPoolExecutor() as aside:

        def open_site(**settings: str) -> Site:
            env = environment(studio, llm, redis_url, **settings)
            work = build(Settings.from_env(env))
            opened.append(work)
            return Site(work, studio.tasks, studio, env, aside)

        yield open_site
    for work in opened:
        work.close()


@pytest.fixture
def site(open_site: Open) -> Site:
    return open_site()


@contextmanager
def worked_on(site: Site, run: Run) -> Iterator[None]:
    """Somebody takes part in the run."""
    with leasing(site.work.runs.ledger(run.id)) as leases:
        assert leases.take(WRITE)
        yield


def enter(site: Site, run: Run, records: dict[int, tuple[str, str]]) -> None:
    """Tasks of the run, and what has become of each: its record, and what was said."""
    ledger = site.work.runs.ledger(run.id)
    plan = ledger.take(PLAN)
    assert plan
    ledger.plan(plan, sorted(records), place=max(records), total=len(records))
    ledger.end_plan(plan)
    site.work.runs.begin(run.id)
    claim = ledger.take()
    assert claim
    ledger.move(claim, [Entry(claim.part, task, record, said) for task, (record, said) in records.items()])
    ledger.give_back([plan, claim])


def keys_about(site: Site, run: Run) -> list[str]:
    """The keys of the run and of its project."""
    return sorted(key for key in site.work.redis.scan_iter() if run.id in key or f":{REF.id}." in key)
