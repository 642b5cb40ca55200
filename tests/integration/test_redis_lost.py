"""Redis ends in the middle of a run and comes back, with all that it was told or without its last second."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.waiting import until
from tests.fakes.llm_server import FakeLLM
from tests.integration.worked_site import WorkedSite, worked_site
from tests.lasting_redis import LastingRedis
from tests.workers import Workers, holders

TASKS = 300
AWAY_S = 2.0
LOST_S = 1.0


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[LastingRedis]:
    with LastingRedis(tmp_path) as lasting:
        yield lasting


@pytest.fixture
def site(lasting: LastingRedis, llm: FakeLLM) -> Iterator[WorkedSite]:
    with worked_site(lasting.url, llm) as site:
        site.studio.tasks.add(TASKS)
        yield site


@pytest.mark.parametrize(
    ("end", "lost_s", "is_lossy"),
    [
        pytest.param(LastingRedis.shut_down, 0.0, False, id="shut down"),
        pytest.param(LastingRedis.kill, LOST_S, False, id="killed"),
        pytest.param(lambda lasting: lasting.lose_power(LOST_S), LOST_S, True, id="its last second lost"),
    ],
)
def test_what_redis_has_kept_is_not_asked_again(
    lasting: LastingRedis,
    site: WorkedSite,
    llm: FakeLLM,
    end: Callable[[LastingRedis], None],
    lost_s: float,
    is_lossy: bool,
) -> None:
    """Requests that are in flight as it ends are answered while it is away, and kept all the same.

    What a killed process has written, the machine still brings to the disk; without power it does not.
    """
    llm.latency_s = 0.4
    run = site.start()
    with Workers(site.env) as workers:
        until(lambda: len(site.answered(run)) > 80)
        before = site.answered(run)
        time.sleep(lost_s + 0.2)
        horses = [horse for pid in set(holders(site.work, run.id).values()) if (horse := workers.horse(pid))]
        for horse in horses:
            horse.freeze()
        lost = site.answered(run) - before if lost_s else set()
        asked = len(llm.history)
        end(lasting)
        for horse in horses:
            horse.thaw()
        time.sleep(AWAY_S)
        lasting.start()
        found = site.ended(run)

    again = {text for text, count in site.asked().items() if count > 1}
    assert (found.state, found.total, found.done, found.counts["failed"]) == ("succeeded", TASKS, TASKS, 0)
    assert site.per_task(run) == {1: TASKS}
    assert len(site.asked()) == TASKS
    assert before.isdisjoint(site.asked(since=asked))
    assert again <= lost, f"{len(again)} asked again, where {len(lost)} answers were lost"
    assert again or not is_lossy


def test_an_import_that_was_made_while_redis_was_away_is_not_made_twice(
    lasting: LastingRedis, site: WorkedSite, llm: FakeLLM
) -> None:
    llm.latency_s = 0.4  # so that the plan is older than what is lost
    reached, goes_on = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        assert goes_on.wait(30)

    site.studio.tasks.before_import = wait
    run = site.start()
    with Workers(site.env):
        assert reached.wait(30)
        lasting.lose_power(LOST_S)
        goes_on.set()
        time.sleep(AWAY_S)
        lasting.start()
        found = site.ended(run)

    assert (found.state, found.total, found.done) == ("succeeded", TASKS, TASKS)
    assert site.per_task(run) == {1: TASKS}
    assert site.imported() == TASKS


def test_an_import_of_which_redis_has_lost_every_word_is_not_made_twice(
    lasting: LastingRedis, site: WorkedSite
) -> None:
    """Neither that it began nor that it ended."""
    run = site.start()
    with Workers(site.env):
        began = until(lambda: time.monotonic() if site.studio.tasks.imports else None)
        until(lambda: site.work.runs.get(run.id).finished_at)
        lasting.lose_power(time.monotonic() - began + 0.5)
        lasting.start()
        found = site.ended(run)

    assert (found.state, found.total, found.done) == ("succeeded", TASKS, TASKS)
    assert site.per_task(run) == {1: TASKS}
    assert site.imported() == TASKS
