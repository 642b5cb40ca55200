"""The README tells of every setting and every command."""

import re
from pathlib import Path

import pytest

from prelabel.cli import main
from prelabel.config import PER_PROJECT, Settings

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
ROWS = [line.split("|")[1] for line in README.splitlines() if re.match(r"\| `[A-Z]", line)]


def test_the_settings_table_holds_the_settings_and_nothing_else() -> None:
    assert sorted(re.findall(r"`([A-Z_]+)`", "".join(ROWS))) == sorted(name.upper() for name in Settings.model_fields)


def test_the_settings_table_marks_what_can_be_set_per_project() -> None:
    assert set(re.findall(r"`([A-Z_]+)` °", "".join(ROWS))) == PER_PROJECT


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_is_told_of(command: str) -> None:
    assert re.search(rf"\b{command}\b", README)
