"""What is told of a run while it is on: how fast it is, how long it will take, and what has happened to it."""

import os
import time
from collections.abc import Iterator

import pytest

from prelabel.bootstrap import Services, build
from prelabel.config import Settings
from prelabel.runs import control
from prelabel.store.ledger import PLAN, Claim, Entry, Ledger
from prelabel.store.run import Run, RunOptions
from prelabel.store.run_scripts import HISTORY_SHOWN, PACE_S

TASKS = list(range(1, 101))


@pytest.fixture
def work(redis_url: str) -> Iterator[Services]:
    work = build(Settings.from_env({"OPENAI_API_KEY": "key", "REDIS_URL": redis_url}))
    yield work
    work.close()


@pytest.fixture
def run(work: Services) -> Run:
    """It is running, with all its tasks waiting."""
    run = work.runs.create(RunOptions(7))
    work.runs.begin(run.id)
    ledger = work.runs.ledger(run.id)
    plan = taken(ledger, PLAN)
    ledger.plan(plan, TASKS, place=TASKS[-1], total=len(TASKS))
    ledger.end_plan(plan)
    ledger.give_back([plan])
    return work.runs.get(run.id)


def taken(ledger: Ledger, part: str = "") -> Claim:
    claim = ledger.take(part)
    assert claim
    return claim


def answer(ledger: Ledger, tasks: list[int]) -> None:
    shard = taken(ledger)
    ledger.move(shard, [Entry(shard.part, task, "a[]") for task in tasks])
    ledger.give_back([shard])


def told(work: Services, run: Run) -> list[tuple[str, str]]:
    return [(event["what"], event["why"]) for event in work.runs.history(run.id)]


def test_the_pace_is_that_of_late_and_the_rest_is_reckoned_by_it(work: Services, run: Run) -> None:
    began = int(float(work.redis.hget(f"prelabel:1:-:run:{run.id}", "running_since") or 0))
    answer(work.runs.ledger(run.id), TASKS[:40])
    while int(work.redis.time()[0]) < began + 2:
        time.sleep(0.05)

    found = work.runs.get(run.id)

    assert found.pace
    assert 40 / (PACE_S + 2) < found.pace <= 40 / 2
    assert found.asking_left_s == pytest.approx(60 / found.pace)
    assert control.describe(work, found)["tasks_per_second"] == round(found.pace, 2)


def test_what_was_settled_more_than_a_minute_ago_is_no_pace(work: Services, run: Run) -> None:
    old = int(time.time()) // PACE_S - 8
    work.redis.hset(f"prelabel:1:-:run:{run.id}:pace", str(old), 5000)
    work.redis.hset(f"prelabel:1:-:run:{run.id}", "running_since", old * PACE_S)

    assert (work.runs.get(run.id).pace, work.runs.get(run.id).eta_seconds) == (None, None)

    answer(work.runs.ledger(run.id), TASKS[:6])
    found = work.runs.get(run.id)
    assert found.pace
    assert found.pace <= 6 / 60 * 1.2
    assert [int(bucket) > old for bucket in work.redis.hkeys(f"prelabel:1:-:run:{run.id}:pace")] == [True]


def test_a_paused_run_has_no_pace(work: Services, run: Run) -> None:
    answer(work.runs.ledger(run.id), TASKS[:40])
    control.pause(work, run.id)

    found = work.runs.get(run.id)

    assert (found.state, found.pace, found.eta_seconds) == ("paused", None, None)


def test_the_history_tells_what_has_happened_and_why(work: Services, run: Run) -> None:
    taken(work.runs.ledger(run.id))
    control.bury(work, os.getpid())
    control.pause(work, run.id)
    control.resume(work, run.id)
    work.runs.begin(run.id)
    for _ in range(3):
        work.runs.tell(run.id, "waiting", "the LLM's server answered 503")
    work.runs.end(run.id, "failed", "the key is refused")
    control.retry(work, run.id)

    assert told(work, run) == [
        ("queued", ""),
        ("running", ""),
        ("worker died", "what it had not heard is asked again"),
        ("paused", ""),
        ("resumed", ""),
        ("running", ""),
        ("waiting", "the LLM's server answered 503"),
        ("failed", "the key is refused"),
        ("retried", ""),
    ]


def test_an_ended_run_is_kept_for_a_while_and_one_that_is_tried_again_for_good(work: Services, run: Run) -> None:
    def days_left() -> set[int]:
        return {-(-work.redis.ttl(key) // 86_400) for key in work.redis.scan_iter(f"*:run:{run.id}*")}

    assert days_left() == {0}  # Redis says -1: for good
    work.runs.end(run.id, "failed", "the key is refused")
    assert days_left() == {90}
    control.retry(work, run.id)
    assert days_left() == {0}


def test_a_run_whose_time_is_over_is_listed_no_more(work: Services, run: Run) -> None:
    work.runs.end(run.id, "succeeded")
    work.redis.delete(*work.redis.scan_iter(f"*:run:{run.id}*"))

    assert work.runs.all() == []
    assert work.redis.zcard("prelabel:1:-:runs") == 0


def test_a_long_history_keeps_its_end(work: Services, run: Run) -> None:
    for number in range(HISTORY_SHOWN + 5):
        work.runs.tell(run.id, "waiting", str(number))

    assert told(work, run)[-1] == ("waiting", str(HISTORY_SHOWN + 4))
    assert len(told(work, run)) == HISTORY_SHOWN
