"""A run into a real Label Studio whose workers are killed again and again: nothing is lost, nothing is done twice.

``KILLS_ROUNDS=3`` does it three times in a row, each time at other moments; ``--log-cli-level=INFO`` tells the figures.
"""

import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from prelabel.bootstrap import Services, build
from prelabel.config import Settings
from prelabel.runs import control
from prelabel.store.ledger import WRITE
from prelabel.store.run import Run, RunOptions
from tests.e2e.studio_api import StudioApi
from tests.e2e.waiting import until
from tests.fakes.llm_server import FakeLLM
from tests.servers import LabelStudio
from tests.workers import Horse, Workers, holders

log = logging.getLogger(__name__)

CONFIG = """
<View><Text name="text" value="$text"/>
<Choices name="intent" toName="text"><Choice value="Refund"/><Choice value="Shipping"/><Choice value="Other"/></Choices>
</View>
"""
TASKS = 2000
KILLS = 20
CONCURRENCY, TOGETHER = 4, 5
LATENCY_S = 2.5
"""Of the LLM until the last kill, so that the run is not over before."""
SLOW_S = 8.0
"""Where nothing but a write is waited for, so that there are some more before the last."""
BETWEEN_KILLS_S = (0.2, 2.0)
PATIENCE_S = 480.0
ASKING, ANSWERED, WRITING = "asking", "between answer and write", "in a write"
TARGETS = ("worker", "work-horse", "both")
ROUNDS = int(os.environ.get("KILLS_ROUNDS", "1"))

Kind = tuple[str, str]
"""The moment, and who is killed."""
Stored = tuple[int, frozenset[str]]
"""How many requests there had been when these tickets' answers were stored."""


def kinds(chance: random.Random) -> list[Kind]:
    """20 kills in which every moment and target meet, in any order; few in a write, which are waited for."""
    often = [(moment, target) for moment in (ASKING, ANSWERED) for target in TARGETS]
    rare = [*((WRITING, target) for target in TARGETS), (WRITING, "work-horse")]
    found = [*often, *often, *rare, *chance.sample(often, KILLS - 2 * len(often) - len(rare))]
    chance.shuffle(found)
    return found


class Killer:
    """Kills whoever works at a run, at all kinds of moments."""

    def __init__(self, work: Services, run: Run, workers: Workers, llm: FakeLLM, chance: random.Random) -> None:
        self._work = work
        self._run_id = run.id
        self._workers = workers
        self._llm = llm
        self._chance = chance
        self._left = kinds(chance)
        self._seen_write = 0.0
        self._next_at = time.monotonic() + chance.uniform(*BETWEEN_KILLS_S)
        self.killed: Counter[Kind] = Counter()
        self.taken_s = 0.0

    def kill_all(self, before_each: Callable[[], None]) -> None:
        """Until all kinds were had; a write is rare, so that whichever moment comes is taken."""
        began = time.monotonic()
        while self._left:
            self.taken_s = time.monotonic() - began
            assert self.taken_s < PATIENCE_S, f"not within {PATIENCE_S:g} s: {Counter(self._left)}"
            run = self._work.runs.get(self._run_id)
            assert not run.finished_at, f"the run was over before: {Counter(self._left)}"
            if {moment for moment, _ in self._left} == {WRITING}:
                self._llm.latency_s = SLOW_S
            if run.writing_since > self._seen_write:
                self._seen_write = run.writing_since
                if run.waiting:  # it is not the last
                    time.sleep(self._chance.uniform(0, (run.import_s or 0.5) / 2))
                self._kill(WRITING, before_each)
            elif time.monotonic() > self._next_at and self._kill(self._next_but_writing(), before_each):
                self._next_at = time.monotonic() + self._chance.uniform(*BETWEEN_KILLS_S)
            time.sleep(0.02)

    def _next_but_writing(self) -> str | None:
        return next((moment for moment, _ in self._left if moment != WRITING), None)

    def _kill(self, moment: str | None, before: Callable[[], None]) -> bool:
        """Whether it was the moment. Whoever is to die stands still while that is looked at."""
        if moment == ANSWERED:
            self._wait_for_an_answer()
        if moment is None or (horse := self._victim(moment)) is None:
            return False
        target = self._target(moment, horse)
        horse.freeze()
        is_moment = target is not None and self._is(moment, horse)
        if target and is_moment:
            before()
            horse.kill(target)
            if (moment, target) in self._left:
                self._left.remove((moment, target))
            self.killed[moment, target] += 1
        horse.thaw()
        return is_moment

    def _target(self, moment: str, horse: Horse) -> str | None:
        """A work-horse that has lost its worker can only be killed by itself: one that writes is, lest it write on.

        It writes on, too, where only its worker is killed, so that the next write is long in coming: that is done last.
        """
        targets = [target for kind, target in self._left if kind == moment]
        if horse.worker is None:
            return "work-horse" if "work-horse" in targets or (targets and moment == WRITING) else None
        late = "worker" if moment == WRITING else "work-horse"
        return min(targets, key=lambda target: target == late, default=None)

    def _victim(self, moment: str) -> Horse | None:
        at = holders(self._work, self._run_id)
        writer = at.pop(WRITE, 0)
        pids = [writer] if moment == WRITING else sorted(set(at.values()))
        horses = [horse for pid in pids if (horse := self._workers.horse(pid))]
        fitting = [horse for horse in horses if self._target(moment, horse)]
        return self._chance.choice(fitting) if fitting else None

    def _is(self, moment: str, horse: Horse) -> bool:
        run = self._work.runs.get(self._run_id)
        at = {part for part, pid in holders(self._work, self._run_id).items() if pid == horse.process.pid}
        match moment:
            case "asking":
                return bool(at - {WRITE}) and self._llm.in_flight > 0
            case "between answer and write":
                return bool(at - {WRITE}) and run.answered > 0 and not run.writing_since
            case _:
                return WRITE in at and run.writing_since == self._seen_write

    def _wait_for_an_answer(self) -> None:
        """Until one is stored, for no longer than the LLM takes, unless a write begins."""
        run, end = self._work.runs.get(self._run_id), time.monotonic() + LATENCY_S
        settled = run.settled
        while run.settled == settled and run.writing_since <= self._seen_write and time.monotonic() < end:
            time.sleep(0.005)
            run = self._work.runs.get(self._run_id)


@pytest.fixture
def work(label_studio: LabelStudio, redis_url: str, llm: FakeLLM) -> Iterator[Services]:
    with services(environment(label_studio, redis_url, llm)) as work:
        yield work


def environment(label_studio: LabelStudio, redis_url: str, llm: FakeLLM) -> dict[str, str]:
    return {
        "OPENAI_API_KEY": llm.api_key,
        "OPENAI_BASE_URL": llm.url,
        "REDIS_URL": redis_url,
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.token,
        "LLM_CONCURRENCY": str(CONCURRENCY),
        "LLM_TASKS_PER_REQUEST": str(TOGETHER),
        "ANSWER_CACHE_DAYS": "0",
    }


@contextmanager
def services(env: dict[str, str]) -> Iterator[Services]:
    work = build(Settings.from_env(env))
    yield work
    work.close()


@pytest.mark.parametrize("seed", range(1, 1 + ROUNDS))
def test_killed_at_twenty_moments_a_run_loses_and_repeats_nothing(
    label_studio: LabelStudio,
    studio: StudioApi,
    work: Services,
    redis_url: str,
    llm: FakeLLM,
    seed: int,
) -> None:
    project = studio.create_project("Killed", CONFIG)
    texts = [f"Refund number {number}" for number in range(TASKS)]
    tasks = dict(zip(studio.import_tasks(project, [{"text": text} for text in texts]), texts, strict=True))
    llm.latency_s = LATENCY_S
    stored: list[Stored] = []
    run = control.start(work, RunOptions(project))
    ledger = work.runs.ledger(run.id)

    def note_what_is_stored() -> None:
        answered = [task for task, record in ledger.records().items() if record[0] in "aln"]
        stored.append((len(llm.history), frozenset(tasks[task] for task in answered)))

    with Workers(environment(label_studio, redis_url, llm)) as workers:
        killer = Killer(work, run, workers, llm, random.Random(seed))
        killer.kill_all(note_what_is_stored)
        llm.latency_s = 0
        found = until(lambda: seen if (seen := work.runs.get(run.id)).finished_at else None, within_s=120)

    asked = Counter(text for each in llm.history for text in each.texts)
    again = asked.total() - TASKS
    deadly = sum(count for (_, target), count in killer.killed.items() if target != "worker")
    told = "%d kills in %.0f s, %d asked again after %d dead work-horses: %s"
    log.info(told, killer.killed.total(), killer.taken_s, again, deadly, sorted(killer.killed.items()))
    states = Counter(record[0] for record in ledger.records().values())
    per_task = Counter(
        row["task"] for row in studio.predictions(project) if row["model_version"] == found.model_version
    )
    assert killer.killed.total() == KILLS
    assert {moment for moment, _ in killer.killed} == {ASKING, ANSWERED, WRITING}
    assert {target for _, target in killer.killed} == set(TARGETS)
    assert (found.state, found.total, found.done, found.counts["labeled"]) == ("succeeded", TASKS, TASKS, TASKS)
    assert (states, found.waiting, found.answered) == ({"l": TASKS}, 0, 0)
    assert per_task == dict.fromkeys(tasks, 1)
    assert set(asked) == set(texts)
    for count, answered in stored:
        assert answered.isdisjoint(text for each in llm.history[count:] for text in each.texts)
    assert again <= deadly * CONCURRENCY * TOGETHER, f"{again} asked again after {deadly} dead work-horses"
