"""prelabel as it is deployed, for the end-to-end tests: two gunicorn processes, a worker and a Redis of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.servers import REPOSITORY, LabelStudio, Running, free_port, gunicorn, redis_server, rq_worker


@dataclass(frozen=True, slots=True)
class Backend:
    server: Running
    worker: Running
    env: Mapping[str, str]
    """All of the settings; the command line gets the same."""

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def auth(self) -> tuple[str, str]:
        return self.env["BASIC_AUTH_USER"], self.env["BASIC_AUTH_PASS"]

    def run(self, *arguments: str, **settings: str) -> str:
        """``python -m prelabel ...``, with some settings changed; what it printed.

        :raises AssertionError: it failed; the text holds all that it printed.
        """
        command = [sys.executable, "-m", "prelabel", *arguments]
        env = {"PATH": os.environ["PATH"], **self.env, **settings}
        done = subprocess.run(command, env=env, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def connect(self, project: int, *settings: str) -> None:
        """:param settings: as ``NAME=VALUE``."""
        self.run("connect", "--project", str(project), *(word for each in settings for word in ("--set", each)))


@contextmanager
def running_backend(label_studio: LabelStudio, llm_url: str) -> Iterator[Backend]:
    """The backend of one Label Studio, which asks the LLM server at ``llm_url``."""
    with redis_server() as redis:
        env = {
            "HOST": "127.0.0.1",
            "PORT": str(free_port()),
            "WORKERS": "2",
            "OPENAI_API_KEY": "test-key",
            "OPENAI_BASE_URL": llm_url,
            "REDIS_URL": redis.url,
            "LABEL_STUDIO_URL": label_studio.url,
            "LABEL_STUDIO_API_KEY": label_studio.token,
            "BASIC_AUTH_USER": "label-studio",
            "BASIC_AUTH_PASS": "a password of the tests",
        }
        with gunicorn(env) as server, rq_worker(env) as worker:
            yield Backend(server, worker, env)
