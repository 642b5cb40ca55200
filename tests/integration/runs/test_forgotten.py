"""Bulk runs whose project, or whose task, is forgotten while a worker is at them."""

import pytest

from prelabel.core.types import Prediction
from prelabel.errors import RequestError
from prelabel.runs import control
from prelabel.runs.bulk import execute
from tests.e2e.waiting import until
from tests.fakes.llm_server import FakeLLM
from tests.integration.project_seven import CREATED, REF
from tests.integration.runs.conftest import IN_HAND, Gate, Site, enter, keys_about, worked_on


def test_a_project_that_is_forgotten_while_its_run_labels_leaves_no_key(site: Site, llm: FakeLLM) -> None:
    site.tasks.add(1200)
    llm.answer = gate = Gate()
    run = site.start()
    doing = site.doing(run)
    assert gate.reached.wait(20)

    forgetting = site.aside.submit(control.forget_project, site.work, 7)
    until(lambda: site.work.runs.get(run.id).wanted == "cancel")
    gate.opened.set()
    forgetting.result(30)
    doing.result(30)

    assert keys_about(site, run) == []
    assert site.work.runs.all() == []
    assert 0 < len(llm.history) <= IN_HAND / 10


def test_forgetting_a_project_says_so_if_its_worker_does_not_stop(site: Site) -> None:
    run = site.start()
    with worked_on(site, run), pytest.raises(RequestError, match="still at its last tasks"):
        control.forget_project(site.work, 7, patience_s=0.3)

    assert site.work.runs.get(run.id).state == "canceled"


def test_a_worker_whose_run_was_taken_away_all_the_same_stops_without_a_trace(site: Site, llm: FakeLLM) -> None:
    """Such as one that was frozen for longer than its lease."""
    site.tasks.add(1200)
    llm.answer = gate = Gate()
    run = site.start()
    doing = site.doing(run)
    assert gate.reached.wait(20)

    site.work.runs.forget_project(7)
    site.work.projects.forget(7)
    gate.opened.set()
    doing.result(30)

    assert keys_about(site, run) == []
    assert site.tasks.imports == []


def test_what_was_imported_as_the_run_was_taken_away_is_not_kept(site: Site) -> None:
    site.tasks.add(20)
    run = site.start()

    def forget() -> None:
        site.work.runs.forget_project(7)
        site.work.projects.forget(7)

    site.tasks.before_import = forget
    execute(site.work, run.id)
    site.work.projects.keep_predictions(REF, "v1", {3: Prediction({}, 0.5, "v1")}, run_id=run.id)

    assert keys_about(site, run) == []


def test_a_job_of_a_forgotten_run_does_nothing(site: Site, llm: FakeLLM) -> None:
    site.tasks.add(20)
    run = site.start()
    control.forget_project(site.work, 7)

    execute(site.work, run.id)

    assert (keys_about(site, run), llm.history) == ([], [])


def test_a_tasks_failures_are_forgotten_with_it(site: Site) -> None:
    run = site.start()
    enter(site, run, {3: ("f", "too long"), 6: ("f", "too long")})

    event = {"project": {"id": 7, "created_at": CREATED}, "tasks": [{"id": 3}]}
    site.work.learning.receive("TASKS_DELETED", event)

    assert site.work.runs.errors(run.id) == [{"reason": "too long", "count": 1, "tasks": [6]}]
    assert list(site.work.runs.ledger(run.id).records()) == [6]
