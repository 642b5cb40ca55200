"""Tasks that ``/predict`` does not reach in time, and a bulk run of their own does, if it is told to."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from model import PrelabelModel
from prelabel.bootstrap import Services, build
from prelabel.config import Settings
from prelabel.runs import control
from prelabel.runs.bulk import execute
from prelabel.store.keys import ProjectRef
from prelabel.store.run import RunOptions
from prelabel.web.app import create_app
from tests.e2e.waiting import until
from tests.fakes.llm_replies import Hang
from tests.fakes.llm_server import FakeLLM
from tests.fakes.studio_server import FakeLabelStudio
from tests.integration.conftest import PROJECT, TICKETS, Backend
from tests.integration.project_seven import environment, project_seven
from tests.servers import rq_worker

Start = Callable[[str], tuple[Backend, dict[str, str]]]


@pytest.fixture
def studio() -> Iterator[FakeLabelStudio]:
    with FakeLabelStudio() as studio:
        studio.projects[7] = project_seven()
        yield studio


@pytest.fixture
def start(studio: FakeLabelStudio, llm: FakeLLM, redis_url: str) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(overflow: str) -> tuple[Backend, dict[str, str]]:
            own = {"LLM_TASKS_PER_REQUEST": "1", "PREDICT_DEADLINE": "3", "PREDICT_OVERFLOW": overflow}
            env = environment(studio, llm, redis_url, **own)
            work = build(Settings.from_env(env))
            stack.callback(work.close)
            return Backend(work, create_app(PrelabelModel, work).test_client()), env

        yield start


def retrieved(backend: Backend, studio: FakeLabelStudio, llm: FakeLLM, late: int) -> list[bool]:
    """Which of the project's first tasks ``/predict`` answers, ``late`` of which the LLM is silent about."""
    llm.enqueue(*[Hang(30)] * late)
    tasks = [{"id": task, "data": {"text": text}} for task, text in list(studio.tasks.texts.items())[:5]]
    return [item != {} for item in backend.predict(*tasks)]


def runs(work: Services) -> list[tuple[str, int]]:
    return [(run.state, run.done) for run in work.runs.all(7)]


def test_what_is_not_reached_gets_its_prediction_by_a_run_and_nothing_else_does(
    start: Start, studio: FakeLabelStudio, llm: FakeLLM
) -> None:
    backend, env = start("run")
    studio.tasks.add(40)

    answered = retrieved(backend, studio, llm, late=2)
    with rq_worker(env):
        until(lambda: runs(backend.work) == [("succeeded", 2)])

    first = list(studio.tasks.texts)[:5]
    assert answered.count(False) == 2
    assert [row["task"] for row in studio.tasks.predictions] == [
        task for task, is_answered in zip(first, answered, strict=True) if not is_answered
    ]
    assert [run.total for run in backend.work.runs.all(7)] == [2]


def test_while_a_run_is_going_it_waits_for_its_end(start: Start, studio: FakeLabelStudio, llm: FakeLLM) -> None:
    """As a limited or paused one, or one about other tasks, may not be about these."""
    backend, env = start("run")
    studio.tasks.add(40)
    backend.setup(project=PROJECT)
    going = backend.work.runs.create(RunOptions(7), list(studio.tasks.texts)[20:22])
    control.pause(backend.work, going.id)

    answered = [*retrieved(backend, studio, llm, late=1), *retrieved(backend, studio, llm, late=1)]
    meanwhile = [run.id for run in backend.work.runs.all(7)]
    control.resume(backend.work, going.id)
    with rq_worker(env):
        until(lambda: [state for state, _ in runs(backend.work)] == ["succeeded", "succeeded"])

    assert answered.count(False) == 2
    assert meanwhile == [going.id]
    predicted = {row["task"] for row in studio.tasks.predictions}
    first = list(studio.tasks.texts)[:5] * 2
    late = {task for task, is_answered in zip(first, answered, strict=True) if not is_answered}
    assert predicted == {*list(studio.tasks.texts)[20:22], *late}
    assert backend.work.projects.late(backend.work.projects.resolve(ProjectRef(7))) == []


def test_what_waits_for_a_run_that_is_cancelled_waits_for_the_next(
    start: Start, studio: FakeLabelStudio, llm: FakeLLM
) -> None:
    backend, _ = start("run")
    work = backend.work
    studio.tasks.add(40)
    backend.setup(project=PROJECT)
    stopped = control.start(work, RunOptions(7))
    answered = retrieved(backend, studio, llm, late=1)
    control.cancel(work, stopped.id)
    execute(work, stopped.id)
    meanwhile = runs(work)

    execute(work, work.runs.create(RunOptions(7), list(studio.tasks.texts)[20:22]).id)

    [late] = [task for task, said in zip(list(studio.tasks.texts)[:5], answered, strict=True) if not said]
    assert meanwhile == [("canceled", 0)]
    assert runs(work) == [("queued", 0), ("succeeded", 2), ("canceled", 0)]
    assert work.runs.ledger(work.runs.all(7)[0].id).chosen(0, 10) == ([late], 1)


def test_what_is_turned_away_because_of_threads_is_put_on_a_run(
    start: Start, studio: FakeLabelStudio, llm: FakeLLM
) -> None:
    backend, _ = start("run")
    studio.tasks.add(5)
    backend.setup(project=PROJECT)
    tasks = [{"id": task, "data": {"text": text}} for task, text in studio.tasks.texts.items()]

    said = backend.work.service.decline(ProjectRef.parse(PROJECT), TICKETS, tasks, None)

    [run] = backend.work.runs.all(7)
    assert said == [{}] * 5
    assert backend.work.runs.ledger(run.id).chosen(0, 10) == (list(studio.tasks.texts), 5)


def test_by_default_it_is_left_until_label_studio_asks_again(
    start: Start, studio: FakeLabelStudio, llm: FakeLLM
) -> None:
    backend, _ = start("none")
    studio.tasks.add(5)

    answered = retrieved(backend, studio, llm, late=1)

    assert answered.count(False) == 1
    assert runs(backend.work) == []
