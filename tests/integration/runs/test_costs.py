"""What a run has cost, as it is kept and told."""

import subprocess
import sys
from typing import Any

import pytest

from prelabel.core.types import Usage
from prelabel.store.run import Run, RunOptions
from tests.integration.conftest import Backend, json_of
from tests.servers import REPOSITORY


@pytest.fixture
def run(backend: Backend) -> Run:
    return backend.work.runs.create(RunOptions(7))


def described(backend: Backend, run: Run) -> dict[str, Any]:
    return json_of(backend.http.get(f"/runs/{run.id}"))


def line(run: Run, redis_url: str) -> str:
    """The first line that ``status`` prints."""
    command = [sys.executable, "-m", "prelabel", "status", run.id]
    done = subprocess.run(
        command, env={"REDIS_URL": redis_url}, cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[0]


def test_what_requests_cost_adds_up_over_a_run(backend: Backend, run: Run, redis_url: str) -> None:
    backend.work.runs.count(run.id, Usage(2, 1000, 600, 50, 0.25), labeled=19, abstained=1)
    backend.work.runs.count(run.id, Usage(1, 500, 0, 25, 0.05, from_cache=3), labeled=10)

    told = described(backend, run)

    assert told["cost"] == pytest.approx(0.3)
    assert told["cost_per_task"] == pytest.approx(0.01)
    counted = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "from_cache", "done")
    assert [told[name] for name in counted] == [3, 1500, 600, 75, 3, 30]
    assert line(run, redis_url).endswith(", cost $0.30 ($0.010 a task)")


def test_one_unknown_price_leaves_a_run_s_cost_unknown(backend: Backend, run: Run, redis_url: str) -> None:
    for cost in (0.25, None, 0.05):
        backend.work.runs.count(run.id, Usage(1, 500, 0, 25, cost), labeled=10)

    told = described(backend, run)

    assert (told["cost"], told["cost_per_task"], told["requests"]) == (None, None, 3)
    assert line(run, redis_url).endswith(", cost unknown")


def test_a_run_that_has_just_been_queued_counts_nothing(run: Run, redis_url: str) -> None:
    assert line(run, redis_url) == f"{run.id}  project 7  queued  0/0  cost $0.00"


def test_a_run_that_asked_nothing_cost_nothing(backend: Backend, run: Run, redis_url: str) -> None:
    backend.work.runs.count(run.id, Usage(from_cache=10), labeled=10)

    told = described(backend, run)

    assert (told["cost"], told["cost_per_task"], told["from_cache"]) == (0, 0, 10)
    assert line(run, redis_url).endswith(" 10 labeled, 10 from cache, cost $0.00")


def test_a_run_of_a_release_that_kept_no_prices_has_an_unknown_cost(backend: Backend, run: Run) -> None:
    backend.work.runs.count(run.id, labeled=10, requests=1)
    backend.work.runs.count(run.id, Usage(1, cost=0.05), labeled=10)

    assert backend.work.runs.get(run.id).cost is None
