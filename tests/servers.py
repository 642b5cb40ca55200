"""Real servers for the tests: Redis, Label Studio and prelabel's own two processes, each a context manager.

Every process gets a free loopback port, a fresh temporary directory and no more of this process's environment than
``PATH``, so that neither a developer's keys nor a proxy reach it. When the block ends, all that the process started
ends with it. How processes are started and found again is ``deploy.stack``'s; ``e2e/conftest.py`` puts them together.
"""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from deploy.stack import label_studio as studio
from deploy.stack import processes
from deploy.stack.redis_program import find_redis
from deploy.stack.servers import REPOSITORY, answers, is_at_work, pings

__all__ = ["REPOSITORY", "LabelStudio", "Running", "free_port", "gunicorn", "label_studio", "redis_server", "rq_worker"]


@dataclass(frozen=True, slots=True)
class Running:
    """A process that answers at ``url``."""

    process: processes.Running
    url: str

    @property
    def pid(self) -> int:
        return self.process.process.pid

    def log_tail(self) -> str:
        return self.process.log_tail(40)


@dataclass(frozen=True, slots=True)
class LabelStudio:
    """A Label Studio and its one user, who logs in by password and calls the API with a legacy token."""

    server: Running
    home: Path
    """Its data."""
    user: str
    password: str
    token: str

    @property
    def url(self) -> str:
        return self.server.url


@contextmanager
def redis_server(
    options: Sequence[str] = ("--save", ""), *, home: Path | None = None, port: int = 0
) -> Iterator[Running]:
    """An empty Redis.

    :param options: of its command line; by default it keeps nothing.
    :param home: where it keeps what it keeps, if another is to find that there, at the same ``port``.
    """
    port = port or free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with nullcontext(home) if home else _home("redis") as home:
        command = [find_redis().path, "--bind", "127.0.0.1", "--port", str(port), *options, "--dir", str(home)]
        with _running(command, {}, home, url, lambda _: pings(url), within_s=10) as server:
            yield server


@contextmanager
def gunicorn(env: Mapping[str, str]) -> Iterator[Running]:
    """``prelabel serve``: the backend under gunicorn, listening at the ``PORT`` that ``env`` names."""
    url = f"http://127.0.0.1:{env['PORT']}"
    command = [sys.executable, "-m", "prelabel", "serve"]
    with _home("serve") as home, _running(command, env, home, url, lambda _: answers(f"{url}/health"), 30) as server:
        yield server


@contextmanager
def rq_worker(env: Mapping[str, str]) -> Iterator[Running]:
    """``prelabel worker``: an RQ worker on the ``REDIS_URL`` that ``env`` names."""
    url = env["REDIS_URL"]
    command = [sys.executable, "-m", "prelabel", "worker"]
    with _home("worker") as home, _running(command, env, home, url, lambda pid: is_at_work(url, pid), 30) as worker:
        yield worker


@contextmanager
def label_studio(
    more: Mapping[str, str] | None = None,
    *,
    home: Path | None = None,
    port: int = 0,
    like: LabelStudio | None = None,
) -> Iterator[LabelStudio]:
    """A real Label Studio; with an empty SQLite data directory its first boot takes about half a minute.

    :param more: of its environment.
    :param home: its data, if another is to find that there, at the same ``port``.
    :param like: whose user it has, for data that are a copy.
    """
    port, venv = port or free_port(), label_studio_venv()
    url = f"http://127.0.0.1:{port}"
    user, password, token = "admin@example.com", secrets.token_hex(8), secrets.token_hex(20)
    if like:
        user, password, token = like.user, like.password, like.token
    command = studio.command(venv, *studio.serve_arguments(port), "--enable-legacy-api-token")
    logged_in = {"Authorization": f"Token {token}"}
    with nullcontext(home) if home else _home("label-studio") as home:
        env = {**studio.environment(home, url=url, user=user, password=password, token=token), **(more or {})}
        api = f"{url}/api/projects?page_size=1"
        with _running(command, env, home, url, lambda _: answers(api, logged_in), within_s=180) as server:
            yield LabelStudio(server, home, user, password, token)


def label_studio_venv() -> Path:
    """Label Studio's own virtual environment, made at first use (about a gigabyte, a minute or two)."""
    venv = studio.venv_path()
    with studio.made_by_one(venv):
        if not studio.is_installed(venv):
            studio.install(venv, lambda command: subprocess.run(command, check=True))
    return venv


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _home(name: str) -> Iterator[Path]:
    with TemporaryDirectory(prefix=f"prelabel-{name}-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@contextmanager
def _running(
    command: Sequence[str],
    env: Mapping[str, str],
    home: Path,
    url: str,
    is_ready: Callable[[int], bool],
    within_s: float,
) -> Iterator[Running]:
    """Start ``command`` in the repository, wait until it is ready, and end it and its children afterwards.

    :param home: where its log goes, too.
    :param is_ready: takes its pid.
    :raises StackError: it ended or was not ready in time; the text holds the end of its log.
    """
    env = {"PATH": os.environ["PATH"], "HOME": str(home), **env}
    started = processes.start(str(command), command, log=home / "output.log", cwd=REPOSITORY, env=env)
    session = processes.Session.of(psutil.Process(started.process.pid))
    try:
        started.wait_until(lambda: is_ready(session.pid), within_s)
        yield Running(started, url)
    finally:
        processes.end([session])
        started.process.wait()
