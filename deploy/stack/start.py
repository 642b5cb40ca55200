"""One start: what is missing is set up, everything is started, watched, and ended with whatever ended the start."""

import os
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from deploy.stack import label_studio, processes, sample, servers
from deploy.stack.console import say, short, step
from deploy.stack.folder import Folder
from deploy.stack.processes import Running, StackError
from deploy.stack.redis_program import find_redis
from deploy.stack.servers import REPOSITORY, Server, Settings
from deploy.stack.signals import Stop
from deploy.stack.welcome import welcome
from prelabel.bootstrap import Services, services
from prelabel.config import Settings as Config
from prelabel.errors import PrelabelError

LOOK_S = 0.5


def run(stop: Stop) -> int:
    """Until something goes wrong, which is told; returns the exit status.

    :raises KeyboardInterrupt: it was told to stop; everything has ended.
    """
    folder = Folder(REPOSITORY / ".run")
    try:
        with folder.in_use():
            _run(folder, stop)
    except (StackError, PrelabelError) as error:
        sys.stdout.flush()
        sys.stderr.write(f"\nError: {error}\n")
    return 1


def _run(folder: Folder, stop: Stop) -> None:
    stop.require_unasked()
    if ended := folder.end_all():
        say(f"Ended {ended} processes of a start that was killed.")
    settings = folder.settings()
    given = Config.given().keys() - settings.keys()
    os.environ.update(_environment(settings))
    work = services()
    say(f"Label Studio, Redis, and prelabel's backend and worker, all on loopback; data in {short(folder.path)}\n")
    try:
        try:
            _serve(folder, settings, work, stop, given)
        finally:
            stop.disregard()  # a signal that comes before it is through still leaves the rest to be done
    finally:
        say()
        with step("stopping") as taken:
            folder.end_all()
            taken.text = "everything stopped"
        work.close()


def _serve(folder: Folder, settings: Settings, work: Services, stop: Stop, given: Collection[str]) -> None:
    """:param given: the settings' variables that are the user's own.

    :raises StackError: one of the servers did not start, or has ended.
    """

    def require_all() -> None:
        stop.require_unasked()
        for each in running:
            each.require_alive()

    running = _start(folder, settings)
    projects = sample.set_up(folder, settings, work, require_all)
    say(welcome(folder, settings, work.settings, projects, given))
    while True:
        time.sleep(LOOK_S)
        require_all()


def _environment(settings: Settings) -> Mapping[str, str]:
    """What backend, worker and this process's own calls see beside the user's settings; no proxy knows loopback."""
    direct = ",".join(filter(None, [os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), "localhost,127.0.0.1"]))
    return {**settings, "no_proxy": direct, "NO_PROXY": direct}


def _start(folder: Folder, settings: Settings) -> list[Running]:
    """All four servers, ready."""
    program = find_redis()
    if program.remark:
        say(f"  {program.remark}")
    redis = servers.redis_server(folder, settings, program.path)
    venv = _installed(folder)
    running = [_started(redis, redis.start(folder))]
    _set_up(folder, settings, venv)
    others = [servers.backend(settings), servers.worker(settings), servers.label_studio_server(folder, settings, venv)]
    begun = [server.start(folder) for server in others]
    return running + [_started(server, each) for server, each in zip(others, begun, strict=True)]


def _installed(folder: Folder) -> Path:
    """Label Studio's virtual environment, made if it is missing."""
    venv = label_studio.venv_path()
    if not label_studio.is_installed(venv):
        text = f"Label Studio {label_studio.RELEASE} into {short(venv)}, 1 GB"
        with step(text), label_studio.made_by_one(venv):
            if not label_studio.is_installed(venv):
                label_studio.install(venv, lambda command: _do(folder, "install", command))
    return venv


def _set_up(folder: Folder, settings: Settings, venv: Path) -> None:
    """Label Studio's database, the first time."""
    done = folder.label_studio / "set-up"
    if not done.exists():
        with step("Label Studio's database"):
            command, env = servers.label_studio_setup(folder, settings, venv)
            _do(folder, "set-up", command, env)
            done.touch()


def _do(folder: Folder, name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
    """Run a command to its end, with its own log."""
    running = processes.start(name, command, log=folder.log(name), cwd=REPOSITORY, env=env)
    folder.record(running)
    running.wait()


def _started(server: Server, running: Running) -> Running:
    with step(" at ".join(filter(None, [server.name, server.address])), running.since):
        server.wait(running)
    return running
