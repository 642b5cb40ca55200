"""The data folder: what a start leaves for the next one.

Addresses, passwords and tokens are made once and kept in ``env``, since projects in Label Studio know the backend by
them, and the backend files what it learns under Label Studio's address. Nobody but the owner may look into the folder.
"""

import fcntl
import json
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy.stack import processes
from deploy.stack.processes import Running, StackError

FIRST_PORTS = {"LABEL_STUDIO_URL": 8080, "PRELABEL_URL": 9090, "REDIS_URL": 6390}
"""Where each server goes if the port is free, else to the next free one; at 6379 people have a Redis of their own."""
LAST = "Redis"
"""Who is ended last, since the others use it."""


class Folder:
    """The data folder of one stack."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env_file = path / "env"
        self.logs = path / "logs"
        self.label_studio = path / "label-studio"
        self.redis = path / "redis"
        self._pids = path / "pids"
        self._sample_file = path / "sample.json"

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep others out.

        :raises StackError: another stack uses the folder.
        """
        self.path.mkdir(mode=0o700, exist_ok=True)
        for folder in (self.logs, self.label_studio, self.redis, self._pids):
            folder.mkdir(exist_ok=True)
        with (self.path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(f"it is running already out of {self.path}: stop that one first") from None
            yield

    def settings(self) -> dict[str, str]:
        """The stack's own environment variables, made at the first call.

        :raises StackError: a port that was chosen then is another program's now.
        """
        if not self.env_file.exists():
            _write_private(self.env_file, _as_shell(_new_settings()))
            return self._read_settings()
        settings = self._read_settings()
        for name in FIRST_PORTS:
            if not _is_free(port := port_of(settings[name])):
                raise StackError(
                    f"port {port} is another program's now, which 'ss -ltnp' or 'lsof -i :{port}' names. Projects in "
                    f"{self.path} are connected by it, so end that program; or begin anew: rm -r {self.path}"
                )
        return settings

    def sample(self) -> dict[str, Any]:
        """What is known of the sample's projects, by title."""
        with suppress(FileNotFoundError):
            return dict(json.loads(self._sample_file.read_text("utf-8")))
        return {}

    def keep_sample(self, known: Mapping[str, Any]) -> None:
        _write_private(self._sample_file, json.dumps(known, indent=2) + "\n")

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def record(self, running: Running) -> None:
        """Have its process ended by the next start, should this one not come to it."""
        processes.record(self._pids / running.name.replace(" ", "-"), running)

    def end_all(self) -> int:
        """End every process of this stack, this start's or an earlier one's; returns how many there were."""
        on_record = {path.name: session for path in self._pids.iterdir() if (session := processes.recorded(path))}
        sessions = {session.pid: session for session in [*processes.children(), *on_record.values()]}
        last = [sessions.pop(session.pid) for name, session in on_record.items() if name == LAST]
        ended = processes.end(sessions.values()) + processes.end(last)
        for path in self._pids.iterdir():
            path.unlink()
        return ended

    def _read_settings(self) -> dict[str, str]:
        lines = self.env_file.read_text("utf-8").splitlines()
        pairs = (line.removeprefix("export ").partition("=") for line in lines if line.startswith("export "))
        return {name: value for name, _, value in pairs}


def port_of(url: str) -> int:
    """The port in one of the settings' addresses."""
    port = urlsplit(url).port
    assert port is not None
    return port


def _new_settings() -> dict[str, str]:
    ports = {name: next(port for port in count(first) if _is_free(port)) for name, first in FIRST_PORTS.items()}
    return {
        "LABEL_STUDIO_URL": f"http://localhost:{ports['LABEL_STUDIO_URL']}",
        "LABEL_STUDIO_USERNAME": "admin@example.com",
        "LABEL_STUDIO_PASSWORD": secrets.token_urlsafe(9),
        "LABEL_STUDIO_USER_TOKEN": secrets.token_hex(20),
        "LABEL_STUDIO_API_KEY": secrets.token_hex(20),
        "PRELABEL_URL": f"http://localhost:{ports['PRELABEL_URL']}",
        "HOST": "127.0.0.1",
        "PORT": str(ports["PRELABEL_URL"]),
        "BASIC_AUTH_USER": "label-studio",
        "BASIC_AUTH_PASS": secrets.token_urlsafe(18),
        "WEBHOOK_SECRET": secrets.token_urlsafe(18),
        "REDIS_URL": f"redis://:{secrets.token_urlsafe(18)}@127.0.0.1:{ports['REDIS_URL']}/0",
    }


def _as_shell(settings: Mapping[str, str]) -> str:
    """Lines that a shell sources; no value has a character that it would read otherwise."""
    head = (
        "# Made by `make run` for itself; for another shell: . .run/env, then .venv/bin/python -m prelabel ...\n"
        "# Whatever else `make run` was given, such as OPENAI_API_KEY, that shell needs as well.\n"
    )
    return head + "".join(f"export {name}={value}\n" for name, value in settings.items())


def _write_private(path: Path, text: str) -> None:
    """The whole text or nothing, readable by the owner only."""
    unfinished = path.with_suffix(".new")
    unfinished.touch(mode=0o600)
    unfinished.write_text(text, "utf-8")
    unfinished.replace(path)


def _is_free(port: int) -> bool:
    """Whether a server may have the port on loopback; one that answers on ``::1`` would get its browsers."""
    with suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
        return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
