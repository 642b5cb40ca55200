"""A project whose runs go through a provider's Batch API: real Redis, the fakes of LLM and Label Studio."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from prelabel.bootstrap import Services, build
from prelabel.config import Settings
from prelabel.llm.loop import LLM
from prelabel.runs import control
from prelabel.runs.bulk import execute
from prelabel.store.run import Run, RunOptions
from tests.e2e.waiting import until
from tests.fakes.llm_request import Asked, read_request
from tests.fakes.llm_server import FakeLLM
from tests.fakes.studio_server import FakeLabelStudio
from tests.integration.batches.calling import Caller
from tests.integration.project_seven import environment, project_seven


@dataclass(frozen=True, slots=True)
class BatchSite:
    """Project 7, its LLM, and the services of a worker."""

    work: Services
    studio: FakeLabelStudio
    llm: FakeLLM
    env: dict[str, str]

    def start(self, **options: Any) -> Run:
        return control.start(self.work, RunOptions(7, mode="batch", **options))

    def now(self, run: Run) -> Run:
        return self.work.runs.get(run.id)

    def do(self, run: Run) -> Run:
        """The run, once a worker has been at it, with its batches due."""
        self.work.runs.update(run.id, poll_at=0)
        execute(self.work, run.id)
        return self.now(run)

    def do_all(self, run: Run, turns: int = 10) -> Run:
        """The run, once it is over or paused."""
        for _ in range(turns):
            if (found := self.do(run)).state != "running":
                return found
        raise AssertionError(f"{found} is not over after {turns} turns")

    def awaited(self, run: Run, within_s: float = 60) -> Run:
        """The run, once workers elsewhere are done with it, who are told at once when batches may be looked at."""

        def look() -> Run | None:
            found = self.now(run)
            if found.is_resting and not self.work.runs.is_worked_on(run.id):
                self.work.runs.update(run.id, poll_at=0)
                control.take_up_abandoned(self.work)
            return found if found.finished_at else None

        return until(look, within_s=within_s)

    def per_task(self, run: Run) -> dict[int, int]:
        """How many tasks have how many predictions of the run's version."""
        return dict(self.studio.tasks.per_task(self.now(run).model_version))

    def batched(self) -> Counter[str]:
        """How often each ticket stood in a batch."""
        rows = [row for batch in self.llm.batches.batches.values() for row in batch.rows]
        return Counter(text for row in rows for text in read_request(row["body"], {}).texts)

    def asked(self) -> Counter[str]:
        """How often each ticket was asked about, in a batch whose row was answered or live."""
        return Counter(text for each in self.llm.history for text in each.texts)

    def live(self) -> list[Asked]:
        """The requests that were not in a batch."""
        return [each for each in self.llm.history if each.headers]

    def places(self) -> list[str]:
        """The keys that are kept of batches."""
        names = (":places:", ":batches", ":batching")
        return sorted(key for key in self.work.redis.scan_iter() if any(name in key for name in names))


Open = Callable[..., BatchSite]


@contextmanager
def sites(studio: FakeLabelStudio, redis_url: str, llm: FakeLLM) -> Iterator[Open]:
    """A site, with settings besides those that name the test's servers."""
    opened: list[Services] = []
    studio.projects[7] = project_seven()

    def open_site(**settings: str) -> BatchSite:
        env = environment(studio, llm, redis_url, **{"LLM_MAX_RETRIES": "0", **settings})
        opened.append(build(Settings.from_env(env)))
        return BatchSite(opened[-1], studio, llm, env)

    yield open_site
    for work in opened:
        work.close()


@pytest.fixture
def open_site(redis_url: str, llm: FakeLLM) -> Iterator[Open]:
    with FakeLabelStudio() as studio, sites(studio, redis_url, llm) as open_site:
        yield open_site


@pytest.fixture
def site(open_site: Open) -> BatchSite:
    return open_site()


def assert_nothing_left(site: BatchSite) -> None:
    assert (site.llm.batches.files.stored, site.places()) == ({}, [])


@pytest.fixture
def caller(llm: FakeLLM) -> Iterator[Caller]:
    asking = LLM(8)
    yield Caller(llm, asking)
    asking.close()
