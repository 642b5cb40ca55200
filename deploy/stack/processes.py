"""Processes that are found again: each leads a session of its own, and pid and start time are on record.

So whatever a process forks ends with it, and what a killed stack has left running is ended by the next one. Pid and
start time together name one process for good: a pid alone may be somebody else's by now, and Redis and gunicorn change
their command lines.
"""

import os
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

GRACE_S = 10
"""How long processes may take to end by themselves before they are killed."""
LOOK_S = 0.1
CLOCK_S = 2.0
"""How far two readings of one start time may be apart: it is counted from the boot, whose time follows the clock."""


class StackError(Exception):
    """The stack cannot run; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Session:
    """A process that leads a session, and whatever it started that stayed in it."""

    pid: int
    started: float
    """Unix seconds."""

    @classmethod
    def of(cls, leader: psutil.Process) -> "Session":
        return cls(leader.pid, leader.create_time())

    def members(self) -> list[psutil.Process]:
        """Those alive; none if the pid is another process's by now. As long as one lives, no other gets its pid."""
        found = [
            process
            for process in psutil.process_iter(["status", "create_time"], ad_value=0.0)
            if _session_id(process.pid) == self.pid and process.info["status"] != psutil.STATUS_ZOMBIE
        ]
        leaders = [process for process in found if process.pid == self.pid]
        return [] if any(abs(each.info["create_time"] - self.started) > CLOCK_S for each in leaders) else found


@dataclass(frozen=True, slots=True)
class Running:
    """A process of ours that writes to ``log``."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    since: float
    """When it was started, on ``time.monotonic``."""

    def require_alive(self) -> None:
        """:raises StackError: it has ended; the text holds the end of its log."""
        if (status := self.process.poll()) is not None:
            raise StackError(f"{self.name} ended with status {status}; the end of {self.log}:\n\n{self.log_tail()}")

    def wait_until(self, is_ready: Callable[[], bool], within_s: float) -> None:
        """:raises StackError: it has ended, or is not ready in time; the text holds the end of its log."""
        while not is_ready():
            self.require_alive()
            if time.monotonic() > self.since + within_s:
                raise StackError(
                    f"{self.name} was not ready after {within_s:g} s; the end of {self.log}:\n\n{self.log_tail()}"
                )
            time.sleep(LOOK_S)

    def wait(self) -> None:
        """Until it has done its work.

        :raises StackError: it failed; the text holds the end of its log.
        """
        if self.process.wait():
            self.require_alive()

    def log_tail(self, lines: int = 20) -> str:
        """The end of its log, without the requests that Label Studio served well, of which a page makes dozens."""
        logged = self.log.read_text("utf-8", "replace").splitlines()
        return "\n".join([line for line in logged if 'HTTP/1.1" 200' not in line][-lines:])


def start(
    name: str, command: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str] | None = None, given: str = ""
) -> Running:
    """Start ``command`` as a session's leader.

    :param env: all of its environment, None for this process's own.
    :param given: its standard input.
    """
    since = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the commands are ours
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with suppress(BrokenPipeError):  # it has ended already, which its log tells
        assert process.stdin is not None
        with process.stdin as stdin:
            stdin.write(given.encode())
    return Running(name, process, log, since)


def record(path: Path, running: Running) -> None:
    """Keep what finds this process again."""
    session = Session.of(psutil.Process(running.process.pid))
    path.write_text(f"{session.pid} {session.started}\n")


def recorded(path: Path) -> Session | None:
    """What :func:`record` kept, None if nothing that can be read."""
    try:
        pid, started = path.read_text().split()
        return Session(int(pid), float(started))
    except (FileNotFoundError, ValueError):
        return None


def children() -> list[Session]:
    """All that this process has started and that lives, on record or not."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            found.append(Session.of(child))
    return found


def end(sessions: Collection[Session]) -> int:
    """Ask the leaders to end, wait, and kill whatever is left; returns how many processes there were.

    What has lost its leader is killed at once: nobody is left to ask.
    """
    found = [(session, session.members()) for session in sessions]
    for session, members in found:
        leader = next((member for member in members if member.pid == session.pid), None)
        for member in members if leader is None else [leader]:
            with suppress(psutil.NoSuchProcess):
                member.kill() if leader is None else member.terminate()
    everything = [member for _, members in found for member in members]
    psutil.wait_procs(everything, timeout=GRACE_S)
    left = [member for session in sessions for member in session.members()]
    for member in left:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(left, timeout=GRACE_S)
    return len(everything)


def _session_id(pid: int) -> int:
    """0 for a process that is gone or may not be asked."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0
