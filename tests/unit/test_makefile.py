"""The Makefile sets up ``.venv`` with a Python that the lock has wheels for, and with no other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import REPOSITORY

STUB = """#!/bin/sh
# Says that it is Python {version}; as a virtual environment it makes another such, and notes how it was asked to.
case "$1" in
-c) exec {python} -I -c "import sys; sys.version_info = {numbers}; $2" ;;
--version) echo "Python {version}" ;;
-m) echo "$@" >>asked && rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python &&
    printf '#!/bin/sh\\necho "pip $@" >>asked' >.venv/bin/pip && chmod +x .venv/bin/pip ;;
esac
"""
INSTALL = "pip install -q --disable-pip-version-check --no-deps -r requirements.txt -r requirements-dev.txt"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "Makefile").write_text((REPOSITORY / "Makefile").read_text("utf-8"))
    for name in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).touch()
    return tmp_path


def python(path: Path, version: str) -> str:
    """The path of a program that passes for this Python."""
    numbers = tuple(map(int, version.split(".")))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STUB.format(version=version, numbers=numbers, python=sys.executable))
    path.chmod(0o755)
    return str(path)


def make(checkout: Path, interpreter: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", ".venv/ready", f"PYTHON={interpreter}"],
        env={"PATH": os.environ["PATH"]},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )


def asked(checkout: Path) -> list[str]:
    path = checkout / "asked"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("version", ["3.11.0", "3.12.7", "3.13.9"])
def test_these_are_taken(checkout: Path, version: str) -> None:
    made = make(checkout, python(checkout / "bin" / "python3", version))

    assert (made.returncode, asked(checkout)) == (0, ["-m venv --clear .venv", INSTALL]), made.stderr


@pytest.mark.parametrize("version", ["3.9.18", "3.10.14", "3.14.0", "4.0.0"])
def test_others_are_refused_with_a_word_and_nothing_is_made(checkout: Path, version: str) -> None:
    made = make(checkout, interpreter := python(checkout / "bin" / "python3", version))

    assert made.returncode != 0
    assert f"3.11, 3.12 or 3.13 is needed, and {interpreter} is none of them (Python {version})" in made.stderr
    assert "make .venv/ready PYTHON=python3.13" in made.stderr
    assert asked(checkout) == []
    assert not (checkout / ".venv").exists()


def test_no_python_at_all_is_told_the_same(checkout: Path) -> None:
    made = make(checkout, "python-that-is-not-there")

    assert "3.11, 3.12 or 3.13 is needed, and python-that-is-not-there is none of them" in made.stderr


def test_what_is_set_up_is_not_set_up_again(checkout: Path) -> None:
    interpreter = python(checkout / "bin" / "python3", "3.12.7")
    make(checkout, interpreter)

    assert make(checkout, interpreter).stdout == "make: '.venv/ready' is up to date.\n"
    assert asked(checkout) == ["-m venv --clear .venv", INSTALL]


def test_a_virtual_environment_that_fits_needs_no_other_python(checkout: Path) -> None:
    make(checkout, python(checkout / "bin" / "python3", "3.12.7"))
    (checkout / "asked").unlink()
    (checkout / ".venv" / "ready").unlink()

    made = make(checkout, python(checkout / "bin" / "python3", "3.14.0"))

    assert (made.returncode, asked(checkout)) == (0, [INSTALL]), made.stderr


@pytest.mark.parametrize("own", ["3.14.0", ""])
def test_a_virtual_environment_whose_python_does_not_fit_or_is_gone_is_made_anew(checkout: Path, own: str) -> None:
    interpreter = python(checkout / "bin" / "python3", "3.12.7")
    make(checkout, interpreter)
    (checkout / "asked").unlink()
    (checkout / ".venv" / "bin" / "python").unlink()
    if own:
        python(checkout / ".venv" / "bin" / "python", own)

    made = make(checkout, interpreter)

    assert (made.returncode, asked(checkout)) == (0, ["-m venv --clear .venv", INSTALL]), made.stderr
