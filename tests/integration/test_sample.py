"""The sample's pre-labelling at a start whose predecessor was interrupted in the middle of it."""

import pytest

from deploy.stack import sample
from prelabel.bootstrap import Services
from prelabel.runs import control
from prelabel.store.run import Run, RunOptions
from tests.integration.conftest import Start


class Worker:
    """What a worker leaves in Redis, a run each time the stack looks whether its servers live."""

    def __init__(self, work: Services) -> None:
        self._work = work
        self.done: list[str] = []

    def take_one(self) -> None:
        for run in self._work.runs.going():
            self._work.runs.count(run.id, labeled=3)
            self._work.runs.end(run.id, "succeeded")
            self.done.append(run.id)


@pytest.fixture
def work(start: Start) -> Services:
    return start(LABEL_STUDIO_URL="http://localhost:1", LABEL_STUDIO_API_KEY="a-token").work


@pytest.fixture
def interrupted(work: Services) -> Run:
    """A run that nobody is at."""
    return control.start(work, RunOptions(7))


def test_a_run_that_is_going_already_is_waited_for_and_what_it_leaves_is_labelled(
    work: Services, interrupted: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = Worker(work)

    is_labeled = sample._prelabel("Tickets", 7, "the model", work, worker.take_one)

    assert is_labeled
    assert worker.done[0] == interrupted.id
    assert len(worker.done) == len(work.runs.all(7)) == 2
    assert "by the model: 3 labeled" in capsys.readouterr().out


def test_a_run_that_somebody_has_paused_is_told_and_not_waited_for(
    work: Services, interrupted: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    control.pause(work, interrupted.id)

    is_labeled = sample._prelabel("Tickets", 7, "the model", work, lambda: None)

    assert not is_labeled
    assert f"it is paused: python -m prelabel resume {interrupted.id}" in capsys.readouterr().out
