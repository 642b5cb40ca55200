"""The four servers: how each is started, and when it is ready."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import redis
from rq import Worker

from deploy.stack import label_studio, processes
from deploy.stack.folder import Folder, port_of
from deploy.stack.processes import Running

REPOSITORY = Path(__file__).resolve().parents[2]
Settings = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Server:
    """What is to run."""

    name: str
    address: str
    """As people read it, empty if it has none."""
    command: Sequence[str]
    is_ready: Callable[[int], bool]
    """Takes its pid."""
    within_s: float
    cwd: Path = REPOSITORY
    env: Mapping[str, str] | None = None
    given: str = ""

    def start(self, folder: Folder) -> Running:
        log = folder.log(self.name.lower().replace(" ", "-"))
        running = processes.start(self.name, self.command, log=log, cwd=self.cwd, env=self.env, given=self.given)
        folder.record(running)
        return running

    def wait(self, running: Running) -> None:
        """:raises StackError: it has ended, or is not ready in time."""
        running.wait_until(lambda: self.is_ready(running.process.pid), self.within_s)


def redis_server(folder: Folder, settings: Settings, program: str) -> Server:
    """Redis with all its data on disk; its configuration, with the password, goes in by standard input."""
    url = settings["REDIS_URL"]
    config = {
        "bind": "127.0.0.1",
        "port": port_of(url),
        "requirepass": urlsplit(url).password,
        "appendonly": "yes",
        "save": '""',  # the append-only file holds everything
    }
    return Server(
        "Redis",
        f"127.0.0.1:{port_of(url)}",
        [program, "-"],
        lambda _: pings(url),
        within_s=60,
        cwd=folder.redis,
        given="".join(f"{name} {value}\n" for name, value in config.items()),
    )


def label_studio_setup(folder: Folder, settings: Settings, venv: Path) -> tuple[Sequence[str], Mapping[str, str]]:
    """The command and environment that make its database and the person who logs in; harmless a second time."""
    env = label_studio.environment(
        folder.label_studio,
        url=settings["LABEL_STUDIO_URL"],
        user=settings["LABEL_STUDIO_USERNAME"],
        password=settings["LABEL_STUDIO_PASSWORD"],
        token=settings["LABEL_STUDIO_USER_TOKEN"],
    )
    return label_studio.command(venv, "init", "--quiet", "--enable-legacy-api-token"), env


def label_studio_server(folder: Folder, settings: Settings, venv: Path) -> Server:
    """Label Studio; it creates the backend's own user, whose annotations are not to be taken for a person's."""
    url, token = settings["LABEL_STUDIO_URL"], settings["LABEL_STUDIO_API_KEY"]
    return Server(
        "Label Studio",
        url,
        label_studio.command(venv, *label_studio.serve_arguments(port_of(url))),
        lambda _: answers(f"{url}/api/current-user/whoami", {"Authorization": f"Token {token}"}),
        within_s=300,
        cwd=folder.label_studio,
        env=label_studio.environment(
            folder.label_studio, url=url, user="prelabel@example.com", password=settings["BASIC_AUTH_PASS"], token=token
        ),
    )


def backend(settings: Settings) -> Server:
    """``prelabel serve``, with this process's environment."""
    url = settings["PRELABEL_URL"]
    command = [sys.executable, "-m", "prelabel", "serve"]
    return Server("backend", url, command, lambda _: answers(f"{url}/health"), within_s=60)


def worker(settings: Settings) -> Server:
    """``prelabel worker``, with this process's environment."""
    url = settings["REDIS_URL"]
    command = [sys.executable, "-m", "prelabel", "worker"]
    return Server("worker", "", command, lambda pid: is_at_work(url, pid), within_s=60)


def pings(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except redis.ConnectionError:  # not there yet, or still loading its data
        return False


def is_at_work(redis_url: str, pid: int) -> bool:
    """Whether the process is an RQ worker that has begun to look for jobs."""
    with redis.Redis.from_url(redis_url) as client:
        return any(known.pid == pid for known in Worker.all(connection=client))


def answers(url: str, headers: Mapping[str, str] | None = None) -> bool:
    try:
        return httpx.get(url, headers=headers, timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False
