"""The README's commands, as a newcomer types them: in a fresh clone, with an empty home, block after block.

Only what a reader fills in is filled in: addresses, keys, the project's number. ``make run`` has ``test_make_run``, and
what needs Docker ``test_compose``. Blocks of ``bash`` wait for what people do; ``test_confidence`` goes that way.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from deploy.stack import processes
from deploy.stack.servers import answers, is_at_work
from tests.e2e.studio_api import StudioApi
from tests.fakes.llm_server import FakeLLM
from tests.servers import REPOSITORY, LabelStudio, Running, free_port, redis_server

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SERVERS = ("prelabel serve", "prelabel worker")
ELSEWHERE = ("make run", "docker ", "cp .env.example")
COMMAND_TIMEOUT_S = 600
PROMPTS = ("Label what is asked.", "Label what is asked most.", "Label what is asked first.")


def blocks() -> list[str]:
    return BLOCK.findall((REPOSITORY / "README.md").read_text("utf-8"))


@dataclass(slots=True)
class Reader:
    """Somebody with a clone, an empty home and one shell, whose variables last."""

    clone: Path
    home: Path
    filled_in: Mapping[str, str]
    """What stands in the README to what is typed."""
    env: dict[str, str]
    running: list[processes.Running] = field(default_factory=list)

    def types(self, block: str) -> str:
        """Enter a block's lines; what they printed.

        :raises AssertionError: one of them failed.
        """
        for written, typed in self.filled_in.items():
            block = block.replace(written, typed)
        if any(server in block for server in SERVERS):
            self._start(block)
            return ""
        # The variables that the block exports are the next one's, as in one shell.
        script = f"set -e\n{block}\nenv -0 > {self.home}/env"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.clone,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"{block}\nended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr}"
        kept = (self.home / "env").read_text().split("\0")
        self.env |= dict(line.split("=", 1) for line in kept if "=" in line)
        return done.stdout

    def _start(self, block: str) -> None:
        command = block.split()
        log = self.home / f"{command[-1]}.log"
        started = processes.start(command[-1], command, log=log, cwd=self.clone, env=self.env)
        self.running.append(started)
        if command[-1] == "serve":
            started.wait_until(lambda: answers(f"{self.env['PRELABEL_URL']}/health"), 60)
        else:
            started.wait_until(lambda: is_at_work(self.env["REDIS_URL"], started.process.pid), 60)

    def stop(self) -> None:
        processes.end([processes.Session.of(psutil.Process(each.process.pid)) for each in self.running])
        for each in self.running:
            each.process.wait()


@pytest.fixture
def redis() -> Iterator[Running]:
    with redis_server() as server:
        yield server


@pytest.fixture
def project(studio: StudioApi) -> int:
    """A project of the sample tickets whose reviewer has submitted three prompts already."""
    config = (REPOSITORY / "examples" / "tickets.xml").read_text("utf-8")
    project = studio.create_project("Of a reader", config)
    studio.import_tasks(project, [{"text": f"Where is my parcel {number}?"} for number in range(30)])
    return project


@pytest.fixture
def reader(tmp_path: Path, redis: Running, label_studio: LabelStudio, llm: FakeLLM, project: int) -> Iterator[Reader]:
    clone, home, port = tmp_path / "prelabel", tmp_path / "home", free_port()
    home.mkdir()
    subprocess.run(["git", "clone", "--quiet", f"file://{REPOSITORY}", str(clone)], check=True)
    (home / "terms.yaml").write_text("parcel: what the courier brings\n")
    (home / "guidelines").mkdir()
    filled_in = {
        "/srv/": f"{home}/",
        "python3 -m venv": f"{sys.executable} -m venv",
        "OPENAI_API_KEY=...": f"OPENAI_API_KEY={llm.api_key} OPENAI_BASE_URL={llm.url}",
        "redis://localhost:6379/0": redis.url,
        "http://localhost:8080": label_studio.url,
        "LABEL_STUDIO_API_KEY=...": f"LABEL_STUDIO_API_KEY={label_studio.token}",
        "BASIC_AUTH_PASS=...": "BASIC_AUTH_PASS=password",
        "--project 1": f"--project {project}",
    }
    network = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or "proxy" in name.lower()}
    own = {"PORT": str(port), "PRELABEL_URL": f"http://localhost:{port}", "no_proxy": "localhost,127.0.0.1"}
    own["TESTS"] = "tests/unit"  # ``make check`` has just run the others, and they take minutes
    reader = Reader(clone, home, filled_in, {"PATH": os.environ["PATH"], "HOME": str(home), **network, **own})
    yield reader
    reader.stop()


def test_every_command_of_the_readme_works(reader: Reader, studio: StudioApi, project: int) -> None:
    mine = [block for block in blocks() if not block.startswith(ELSEWHERE)]
    said = {}
    for block in mine:
        if "prompts promote" in block:
            submit_prompts(studio, project)
        said[block] = reader.types(block)

    assert studio.project(project)["model_version"]
    assert len({prediction["task"] for prediction in studio.predictions(project)}) == 30
    assert any("passed" in printed for printed in said.values())
    assert any("0 failed" in printed for printed in said.values())


def submit_prompts(studio: StudioApi, project: int) -> None:
    for task, prompt in zip(studio.tasks(project), PROMPTS, strict=False):
        region = {"from_name": "prompt", "to_name": "text", "type": "textarea", "value": {"text": [prompt]}}
        chosen = {"from_name": "intent", "to_name": "text", "type": "choices", "value": {"choices": ["delivery"]}}
        studio.annotate(task["id"], [{**region, "origin": "manual"}, {**chosen, "origin": "manual"}])
