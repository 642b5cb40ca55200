"""The README tells of every setting and every command, and what it says of Docker is what docker-compose.yml says."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from prelabel.cli import main
from prelabel.config import PER_PROJECT, Settings
from prelabel.core.rules import fit_rules
from prelabel.core.types import Choices, Label, Ticket
from prelabel.guidance.rule_file import read_rules
from tests.compose import FILE, REQUIRED, MissingVariable, services

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
SHELL = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
STACK = services(REQUIRED)
ROWS = [line.split("|")[1] for line in README.splitlines() if re.match(r"\| `[A-Z]", line)]


def test_the_settings_table_holds_the_settings_and_nothing_else() -> None:
    assert sorted(re.findall(r"`([A-Z_]+)`", "".join(ROWS))) == sorted(name.upper() for name in Settings.model_fields)


def test_the_settings_table_marks_what_can_be_set_per_project() -> None:
    assert set(re.findall(r"`([A-Z_]+)` °", "".join(ROWS))) == PER_PROJECT


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_is_told_of(command: str) -> None:
    assert re.search(rf"\b{command}\b", README)


@pytest.mark.parametrize("block", SHELL)
def test_what_is_to_be_typed_is_shell(block: str) -> None:
    read = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)

    assert (read.returncode, read.stderr) == (0, "")


def test_commands_for_compose_name_what_its_file_has() -> None:
    profiles = {profile for service in STACK.values() for profile in service.get("profiles", [])}
    text = README.replace("\\\n", " ")
    services = re.findall(r"docker compose exec (\S+)", text) + re.findall(r"--scale (\w+)=", text)
    services += [name for names in re.findall(r"--no-deps ([a-z ]+)", text) for name in names.split()]

    assert services
    assert set(services) <= STACK.keys()
    assert set(re.findall(r"docker compose --profile (\w+)", text)) <= profiles


def test_the_backup_holds_every_volume_that_cannot_be_pulled_again() -> None:
    file = yaml.safe_load(FILE.read_text("utf-8"))
    (command,) = (block.replace("\\\n", " ") for block in SHELL if "tar czf" in block)
    mounts = dict(re.findall(r"-v (\w[\w-]*):(\S+)", command))
    kept_by = {name: volume for name, service in STACK.items() for volume in service.get("volumes", [])}
    volumes = {volume.partition(":")[0] for name, volume in kept_by.items() if "profiles" not in STACK[name]}

    assert mounts == {f"{file['name']}_{volume}": f"/state/{volume}" for volume in volumes}
    assert volumes | {"ollama"} == file["volumes"].keys()
    assert '-v "$PWD":/backup' in command
    assert "tar czf /backup/prelabel.tar.gz -C /state ." in command
    assert [line.split()[:3] for line in command.splitlines()] == [
        ["docker", "compose", "stop"],
        ["docker", "run", "--rm"],
        ["docker", "compose", "up"],
    ]


def test_a_label_studio_of_ones_own_needs_what_is_told_of_and_no_more() -> None:
    (block,) = (block for block in re.findall(r"^```ini\n(.*?)^```$", README, re.M | re.S) if "PRELABEL_BIND" in block)
    told = dict(re.findall(r"^([A-Z_]+)=(.*)$", block, re.M))
    (started,) = re.findall(r"--no-deps ([a-z ]+)", README)

    stack = services({**told, "BASIC_AUTH_PASS": "secret"})

    studio = {"LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "PRELABEL_URL"}
    for name in ("backend", "worker"):
        assert {key: stack[name]["environment"][key] for key in studio} == {key: told[key] for key in studio}
    assert stack["backend"]["ports"] == ["0.0.0.0:9090:9090"]
    assert {name for name, service in stack.items() if "LABEL_STUDIO_PASSWORD" in service["environment"]}.isdisjoint(
        started.split()
    )
    for name in told.keys() - {"PRELABEL_URL", "PRELABEL_BIND", "LABEL_STUDIO_URL"}:
        with pytest.raises(MissingVariable, match=name):
            services({**told, "BASIC_AUTH_PASS": "secret", name: ""})


def test_the_rules_that_it_shows_are_rules(tmp_path: Path) -> None:
    (block,) = (block for block in re.findall(r"^```yaml\n(.*?)^```$", README, re.M | re.S) if "keywords:" in block)
    (tmp_path / "rules.yaml").write_text(block)
    intent = Choices("intent", "text", tuple(Label(name, name) for name in ("refund", "billing", "delivery")))
    tickets = {
        "MONEY BACK, please!": {},
        "No refund yet. I want my refund.": {},
        "I got inv-12345": {"channel": "Email", "amount": "120", "subject": "Your invoice"},
        "I got INV-12345": {"channel": "Email", "amount": "5001", "subject": "Your invoice"},
        "환불, where is my order?": {},
    }

    rules, problems = fit_rules(read_rules(tmp_path / "rules.yaml"), [intent])
    votes = [rules.vote(Ticket(None, text, fields)) for text, fields in tickets.items()]

    assert problems == ()
    assert [{name: vote.labels for name, vote in each.items()} for each in votes] == [
        {"intent": ("refund",)},
        {},
        {"intent": ("billing",)},
        {},
        {"intent": ()},
    ]
