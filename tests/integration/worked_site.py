"""Project 7 of a fake Label Studio, and all that real workers need to do a run of it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from prelabel.bootstrap import Services, build
from prelabel.config import Settings
from prelabel.errors import StoreUnavailable
from prelabel.runs import control
from prelabel.store.run import Run, RunOptions
from tests.e2e.waiting import until
from tests.fakes.llm_server import FakeLLM
from tests.fakes.studio_server import FakeLabelStudio
from tests.integration.project_seven import environment, project_seven
from tests.workers import holders

CONCURRENCY, TOGETHER = 4, 5


@dataclass(frozen=True, slots=True)
class WorkedSite:
    """:param env: what workers are started with."""

    work: Services
    studio: FakeLabelStudio
    llm: FakeLLM
    env: Mapping[str, str]

    def start(self) -> Run:
        return control.start(self.work, RunOptions(7))

    def seen(self, run: Run) -> Run | None:
        """The run as it stands; None while Redis is away."""
        with suppress(StoreUnavailable):
            return self.work.runs.get(run.id)
        return None

    def ended(self, run: Run, within_s: float = 90) -> Run:
        return until(lambda: now if (now := self.seen(run)) and now.finished_at else None, within_s)

    def taken_up(self, run: Run, part: str) -> int | None:
        """Who is at a part of the run, once one with nothing to do has looked for what nobody is at."""
        control.take_up_abandoned(self.work)
        return holders(self.work, run.id).get(part)

    def answered(self, run: Run) -> set[str]:
        """The texts whose answer is stored, written or not."""
        records = self.work.runs.ledger(run.id).records()
        return {self.studio.tasks.texts[task] for task, record in records.items() if record[0] in "aln"}

    def asked(self, since: int = 0) -> Counter[str]:
        """How often each text was asked about, behind so many requests."""
        return Counter(text for each in self.llm.history[since:] for text in each.texts)

    def per_task(self, run: Run) -> dict[int, int]:
        """How many tasks have how many predictions of the run's version."""
        return dict(self.studio.tasks.per_task(self.work.runs.get(run.id).model_version))

    def imported(self) -> int:
        """Predictions that were sent, those that were there already among them."""
        return sum(map(len, self.studio.tasks.imports))


@contextmanager
def worked_site(redis_url: str, llm: FakeLLM) -> Iterator[WorkedSite]:
    with FakeLabelStudio() as studio:
        studio.projects[7] = project_seven()
        own = {"LLM_CONCURRENCY": str(CONCURRENCY), "LLM_TASKS_PER_REQUEST": str(TOGETHER), "ANSWER_CACHE_DAYS": "0"}
        env = environment(studio, llm, redis_url, **own)
        work = build(Settings.from_env(env))
        yield WorkedSite(work, studio, llm, env)
        work.close()
