"""What is kept of a run's tasks: states and counts that agree, whoever is killed, and how much room it takes."""

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from prelabel.bootstrap import Services, build
from prelabel.config import Settings
from prelabel.core.types import Usage
from prelabel.store.ledger import PLAN, SHARD_TASKS, WRITE, Answer, Claim, Entry, Ledger, Lost, holder
from prelabel.store.run import Run, RunOptions

TASKS = [3 * number for number in range(1, 11)]


@pytest.fixture
def work(redis_url: str) -> Iterator[Services]:
    work = build(Settings.from_env({"OPENAI_API_KEY": "key", "REDIS_URL": redis_url}))
    yield work
    work.close()


@pytest.fixture
def run(work: Services) -> Run:
    run = work.runs.create(RunOptions(7))
    begun = work.runs.begin(run.id)
    assert begun
    return begun


@pytest.fixture
def ledger(work: Services, run: Run) -> Ledger:
    return work.runs.ledger(run.id)


def plan(ledger: Ledger, *pages: list[int]) -> None:
    claim = ledger.take(PLAN)
    assert claim
    for page in pages:
        ledger.plan(claim, page, place=page[-1], total=len(page))
    ledger.end_plan(claim)
    ledger.give_back([claim])


def taken(ledger: Ledger, part: str = "") -> Claim:
    claim = ledger.take(part)
    assert claim
    return claim


def test_tasks_are_planned_in_shards_that_are_taken_once(work: Services, run: Run, ledger: Ledger) -> None:
    tasks = list(range(1, SHARD_TASKS + 11))
    plan(ledger, tasks)

    shards = [taken(ledger), taken(ledger)]

    assert [ledger.waiting(claim.part) for claim in sorted(shards, key=lambda claim: claim.part)] == [
        tasks[:SHARD_TASKS],
        tasks[SHARD_TASKS:],
    ]
    assert (ledger.take(), ledger.free_shards()) == (None, 0)
    found = work.runs.get(run.id)
    assert (found.total, found.waiting, found.is_planned, found.place) == (len(tasks), len(tasks), True, tasks[-1])


def test_a_task_goes_one_way_and_is_counted_where_it_is(work: Services, run: Run, ledger: Ledger) -> None:
    plan(ledger, TASKS)
    shard, writer = taken(ledger), taken(ledger, WRITE)
    records = ['a[0.9,"1"]', "a[]", "f", "s", "h"]
    said = ["", "no idea", "too long", "", ""]
    entries = [Entry(shard.part, *each) for each in zip(TASKS[:5], records, said, strict=True)]

    ledger.move(shard, entries, Usage(1, 100, 0, 10, 0.5))
    answers = list(ledger.answers())
    ledger.move(writer, [Entry(shard.part, TASKS[0], 'l[0.9,"1"]'), Entry(shard.part, TASKS[1], "n")])
    ledger.move(shard, entries)

    found = work.runs.get(run.id)
    assert answers == [Answer(shard.part, TASKS[0], '[0.9,"1"]', ""), Answer(shard.part, TASKS[1], "[]", "no idea")]
    assert Counter(record[0] for record in ledger.records().values()) == Counter("lnfsh") + Counter({"?": 5})
    assert [found.counts[name] for name in ("labeled", "abstained", "withheld", "failed", "skipped")] == [1] * 5
    assert (found.done, found.waiting, found.answered, found.counts["requests"], found.cost) == (5, 5, 0, 1, 0.5)
    assert list(ledger.answers()) == []
    assert work.runs.errors(run.id) == [{"reason": "too long", "count": 1, "tasks": [TASKS[2]]}]


def test_a_lease_that_was_given_back_is_not_renewed(ledger: Ledger) -> None:
    claim = taken(ledger, PLAN)
    ledger.give_back([claim])

    assert ledger.renew([claim]) == [False]
    assert not ledger.is_held(PLAN)


def test_a_holder_that_was_taken_for_dead_keeps_nothing_more(work: Services, run: Run, ledger: Ledger) -> None:
    plan(ledger, TASKS)
    dead = taken(ledger)
    ledger.free(holder(4711))
    assert ledger.take() is None
    ledger.free(holder(os.getpid()))
    heir = taken(ledger)

    with pytest.raises(Lost):
        ledger.move(dead, [Entry(dead.part, TASKS[0], "a[]")])

    assert heir.part == dead.part
    assert heir.token != dead.token
    assert (ledger.renew([dead, heir]), work.runs.get(run.id).answered) == ([False, True], 0)
    ledger.give_back([dead])
    assert ledger.take() is None


def test_a_planner_that_was_taken_for_dead_adds_nothing_more(ledger: Ledger) -> None:
    dead = taken(ledger, PLAN)
    ledger.free(holder(os.getpid()))
    taken(ledger, PLAN)

    with pytest.raises(Lost):
        ledger.plan(dead, TASKS, place=30, total=10)

    assert ledger.records() == {}


def test_a_finished_task_takes_less_than_30_bytes(work: Services, run: Run, ledger: Ledger) -> None:
    tasks = list(range(1_000_001, 1_010_001))
    plan(ledger, tasks)
    writer = taken(ledger, WRITE)
    while claim := ledger.take():
        shard = ledger.waiting(claim.part)
        ledger.move(claim, [Entry(claim.part, task, 'a[0.9312,"12"]', "Why it is so." * 20) for task in shard])
        ledger.move(writer, [Entry(claim.part, task, 'l[0.9312,"12"]') for task in shard])

    keys = list(work.redis.scan_iter(match=f"*{run.id}*"))
    used = sum(work.redis.memory_usage(key, samples=0) or 0 for key in keys)

    assert work.runs.get(run.id).done == len(tasks)
    assert used / len(tasks) < 30
