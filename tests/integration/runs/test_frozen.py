"""A work-horse that stands still for longer than its lease, and goes on after another has taken its place."""

import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.waiting import until
from tests.fakes.llm_server import FakeLLM
from tests.integration.worked_site import WorkedSite, worked_site
from tests.workers import Horse, Workers, holders

TASKS = 100
pytestmark = pytest.mark.alone


@pytest.fixture
def site(redis_url: str, llm: FakeLLM) -> Iterator[WorkedSite]:
    with worked_site(redis_url, llm) as site:
        site.studio.tasks.add(TASKS)
        yield site


def frozen(workers: Workers, pid: int) -> Horse:
    horse = workers.horse(pid)
    assert horse
    horse.freeze()
    return horse


def test_work_horses_that_stand_still_in_turn_store_and_write_nothing_twice(site: WorkedSite, llm: FakeLLM) -> None:
    """The first with its requests in flight, the second in an import that is only made when the run is over."""
    reached, goes_on = threading.Event(), threading.Event()

    def hold_up_the_first() -> None:
        if not reached.is_set():
            reached.set()
            assert goes_on.wait(120)

    site.studio.tasks.before_import = hold_up_the_first
    llm.latency_s = 2
    llm.answer = lambda text, asked: "other"
    run = site.start()
    with Workers(site.env, count=3) as workers:  # one is free even if the import's own has lost its lease
        until(lambda: llm.in_flight)
        first = frozen(workers, holders(site.work, run.id)["1"])
        until(lambda: not llm.in_flight)
        llm.answer = lambda text, asked: "refund"
        until(lambda: site.taken_up(run, "1") not in (None, first.process.pid))
        first.thaw()
        assert reached.wait(60)
        second = frozen(workers, holders(site.work, run.id)["write"])
        until(lambda: site.taken_up(run, "write") not in (None, second.process.pid))
        found = site.ended(run)
        goes_on.set()
        until(lambda: site.imported() > TASKS)
        twice = site.per_task(run)
        second.thaw()
        until(lambda: site.per_task(run) == {1: TASKS})

    labels = Counter(row["result"][0]["value"]["choices"][0] for row in site.studio.tasks.predictions)
    assert (found.state, found.done, found.counts["labeled"]) == ("succeeded", TASKS, TASKS)
    assert labels == {"refund": TASKS}
    assert site.asked().total() > TASKS
    assert twice.get(2)
