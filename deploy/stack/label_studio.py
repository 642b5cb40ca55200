"""Label Studio's own virtual environment and settings; its pins clash with ours, so they share no environment.

The environment takes a gigabyte and a minute or two to make, so it is kept in the user's cache, where every checkout
and the tests find it. What is said here about Label Studio was seen of 1.23.2.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.stack.processes import StackError

RELEASE = "1.23.2"


def venv_path() -> Path:
    """``$LABEL_STUDIO_VENV``, else in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("LABEL_STUDIO_VENV") or cache / "label-studio" / "venv")


def is_installed(venv: Path) -> bool:
    """Whether it is there, whole, and this release.

    :raises StackError: it was made by a Python that is gone.
    """
    python = venv / "bin" / "python"
    if python.is_symlink() and not python.exists():
        raise StackError(f"{venv} was made by a Python that is gone: remove it, and it is made anew")
    if not (venv / "bin" / "label-studio").exists():
        return False
    asked = [str(python), "-c", "from importlib.metadata import version; print(version('label-studio'))"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() == RELEASE  # noqa: S603


@contextmanager
def made_by_one(venv: Path) -> Iterator[None]:
    """Wait until nobody else is making the environment: another checkout, or the tests."""
    venv.parent.mkdir(parents=True, exist_ok=True)
    with venv.with_name(venv.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install(venv: Path, run: Callable[[Sequence[str]], object]) -> None:
    """Make what is missing of the environment.

    :param run: runs a command to its end, and raises if it fails.
    """
    run([sys.executable, "-m", "venv", str(venv)])
    run([str(venv / "bin" / "pip"), "install", "--disable-pip-version-check", f"label-studio=={RELEASE}"])


def command(venv: Path, *arguments: str) -> list[str]:
    return [str(venv / "bin" / "label-studio"), *arguments]


def serve_arguments(port: int) -> list[str]:
    """On loopback only; without ``--internal-host`` it listens everywhere."""
    return ["start", "--no-browser", "--port", str(port), "--internal-host", "127.0.0.1"]


def environment(data: Path, *, url: str, user: str, password: str, token: str) -> Mapping[str, str]:
    """All of its environment; the user is created where it does not exist yet.

    Passwords go here and not on the command line, which everybody on the machine can read. Both SSRF guards are off,
    else it refuses backends on loopback; nothing of it calls home.
    """
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(data),
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_HOST": url,
        "LABEL_STUDIO_USERNAME": user,
        "LABEL_STUDIO_PASSWORD": password,
        "LABEL_STUDIO_USER_TOKEN": token,
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
