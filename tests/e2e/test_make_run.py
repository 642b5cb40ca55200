"""``make run`` as a newcomer meets it: in a fresh clone, with an empty home, and no key.

Only Label Studio's virtual environment is shared with the other tests, since it takes a minute to install; whatever
``git`` does not have yet is not in the clone.
"""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.stack import processes
from tests.e2e.studio_api import StudioApi
from tests.e2e.waiting import until
from tests.servers import REPOSITORY, label_studio_venv

FIRST_WITHIN_S = 300.0
AGAIN_WITHIN_S = 30.0
TICKETS, DIALOGUES = "Support tickets", "Support dialogues"


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A fresh clone and an empty home."""

    clone: Path
    home: Path

    @contextmanager
    def make_run(self, within_s: float) -> Iterator[subprocess.Popen[bytes]]:
        """``make run``, ready; interrupted afterwards as a terminal does it, make and its children at once."""
        output = self.home / "output.log"
        with output.open("wb") as file:
            process = subprocess.Popen(
                # As a terminal starts it, also where whoever runs the tests ignores Ctrl-C.
                ["env", "--default-signal=INT", "make", "run", f"PYTHON={sys.executable}"],
                cwd=self.clone,
                env=self._env(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            until(lambda: "Ctrl-C stops" in output.read_text() or process.poll() is not None, within_s)
            assert process.poll() is None, output.read_text()
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
                process.wait(60)

    def _env(self) -> dict[str, str]:
        """What any shell has, and how pip reaches its index where that is set."""
        network = {
            name: value for name, value in os.environ.items() if name.startswith("PIP_") or "proxy" in name.lower()
        }
        venv = {"LABEL_STUDIO_VENV": str(label_studio_venv())}
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), **network, **venv}

    def settings(self) -> Mapping[str, str]:
        lines = (self.clone / ".run" / "env").read_text().splitlines()
        return dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))

    def processes(self) -> list[psutil.Process]:
        """All that runs out of the clone."""
        return [
            process
            for process in psutil.process_iter(["cwd", "cmdline"])
            if any(str(self.clone) in word for word in [process.info["cwd"] or "", *(process.info["cmdline"] or [])])
        ]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was to be seen of a running stack."""

    seconds: float = field(compare=False)
    listening: set[str]
    projects: dict[str, Any]
    """Title to the counts of tasks, annotations, ML backends, webhooks and tabs."""
    predictions: dict[str, list[dict[str, Any]]]
    """By title."""

    @classmethod
    def of(cls, newcomer: Newcomer, seconds: float) -> "Seen":
        settings = newcomer.settings()
        studio = StudioApi(settings["LABEL_STUDIO_URL"], settings["LABEL_STUDIO_USER_TOKEN"])
        found = {project["title"]: project for project in studio.call("GET", "/api/projects")["results"]}
        sockets = [socket for process in newcomer.processes() for socket in _sockets(process)]
        seen = cls(
            seconds,
            {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN},
            {title: _counts(studio, project) for title, project in found.items()},
            {title: _predictions(studio, project["id"]) for title, project in found.items()},
        )
        studio.close()
        return seen


def _sockets(process: psutil.Process) -> list[Any]:
    """None of a work-horse that has ended meanwhile."""
    sockets: list[Any] = []
    with suppress(psutil.NoSuchProcess):
        sockets = process.net_connections("inet")
    return sockets


def _counts(studio: StudioApi, project: Mapping[str, Any]) -> list[int]:
    own = {"params": {"project": project["id"]}}
    rows = [studio.call("GET", path, **own) for path in ("/api/ml", "/api/webhooks/", "/api/dm/views")]
    return [project["task_number"], project["total_annotations_number"], *map(len, rows)]


def _predictions(studio: StudioApi, project: int) -> list[dict[str, Any]]:
    """Without how long ago that was, as Label Studio words it."""
    found = studio.predictions(project)
    return [{name: value for name, value in each.items() if name != "created_ago"} for each in found]


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    newcomer = Newcomer(tmp_path_factory.mktemp("clone") / "prelabel", tmp_path_factory.mktemp("home"))
    subprocess.run(["git", "clone", "--quiet", f"file://{REPOSITORY}", str(newcomer.clone)], check=True)
    return newcomer


@pytest.fixture(scope="module")
def first(newcomer: Newcomer) -> Seen:
    """The first start; it has been stopped again."""
    begun = time.monotonic()
    with newcomer.make_run(FIRST_WITHIN_S):
        return Seen.of(newcomer, time.monotonic() - begun)


def test_the_first_start_shows_the_sample_reviewed_in_part_and_pre_labelled(first: Seen) -> None:
    with (REPOSITORY / "examples" / "tickets.csv").open(encoding="utf-8", newline="") as file:
        tickets = [bool(ticket["intent"]) for ticket in csv.DictReader(file)]
    dialogues = json.loads((REPOSITORY / "examples" / "dialogues.json").read_text("utf-8"))
    reviewed = {TICKETS: tickets, DIALOGUES: ["annotations" in dialogue for dialogue in dialogues]}

    assert first.projects == {title: [len(tasks), sum(tasks), 1, 1, 2] for title, tasks in reviewed.items()}
    for title, predictions in first.predictions.items():
        assert len({prediction["task"] for prediction in predictions}) == len(predictions) == len(reviewed[title])
        assert all(prediction["result"] and 0 <= prediction["score"] <= 1 for prediction in predictions)


def test_nothing_listens_beyond_loopback_and_passwords_are_the_owners(first: Seen, newcomer: Newcomer) -> None:
    assert first.listening == {"127.0.0.1"}
    assert (newcomer.clone / ".run").stat().st_mode & 0o077 == 0
    assert (newcomer.clone / ".run" / "env").stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("first")
def test_ctrl_c_leaves_no_process(newcomer: Newcomer) -> None:
    assert newcomer.processes() == []


def test_the_second_start_is_quick_has_its_data_and_makes_nothing_twice(first: Seen, newcomer: Newcomer) -> None:
    begun = time.monotonic()

    with newcomer.make_run(AGAIN_WITHIN_S):
        again = Seen.of(newcomer, time.monotonic() - begun)

    assert again == first
    assert newcomer.processes() == []


def test_a_sample_that_was_interrupted_while_it_was_made_is_completed(first: Seen, newcomer: Newcomer) -> None:
    """After the tasks had been imported, before the tabs were there."""
    with newcomer.make_run(AGAIN_WITHIN_S):
        studio = StudioApi(newcomer.settings()["LABEL_STUDIO_URL"], newcomer.settings()["LABEL_STUDIO_USER_TOKEN"])
        for tab in studio.call("GET", "/api/dm/views"):
            if tab["data"]["title"] == "All":
                studio.call("DELETE", f"/api/dm/views/{tab['id']}")
        studio.close()
    (newcomer.clone / ".run" / "sample.json").unlink()

    with newcomer.make_run(AGAIN_WITHIN_S):
        assert Seen.of(newcomer, 0).projects == first.projects


@pytest.mark.usefixtures("first")
def test_what_a_killed_start_left_running_is_ended_by_the_next(newcomer: Newcomer) -> None:
    with newcomer.make_run(AGAIN_WITHIN_S) as make:
        [stack] = psutil.Process(make.pid).children()
        left = [process for process in newcomer.processes() if process not in {stack, psutil.Process(make.pid)}]
        stack.kill()
        make.wait(10)

    with newcomer.make_run(AGAIN_WITHIN_S):
        survivors = [process for process in left if process.is_running()]

    assert left
    assert survivors == []
    assert newcomer.processes() == []


def test_a_process_that_merely_has_the_pid_on_record_is_left_alone(tmp_path: Path) -> None:
    stranger = processes.start("stranger", ["sleep", "60"], log=tmp_path / "log", cwd=tmp_path)
    session = processes.Session.of(psutil.Process(stranger.process.pid))

    ended = processes.end([processes.Session(session.pid, session.started - 60)])

    assert (ended, stranger.process.poll()) == (0, None)
    assert processes.end([session]) == 1
    stranger.process.wait()
