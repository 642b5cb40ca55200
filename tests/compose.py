"""What ``docker compose`` makes of docker-compose.yml, as far as the file goes: variables put in, services as they are.

Only what the file uses is understood: ``${NAME:-default}`` and ``${NAME:?message}``, nested; an ``environment:`` entry
without a value is passed on from outside, or left out.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.servers import REPOSITORY

FILE = REPOSITORY / "docker-compose.yml"
VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?P<kind>:[-?])(?P<text>[^${}]*)\}")
"""The innermost, so that what stands around it is a plain one once it is put in."""
REQUIRED = {"LABEL_STUDIO_PASSWORD": "a password", "LABEL_STUDIO_API_KEY": "ab" * 20, "BASIC_AUTH_PASS": "another"}
"""The least that an ``.env`` holds."""

Service = dict[str, Any]


class MissingVariable(Exception):
    """``docker compose`` would refuse the file, with this message."""


def services(env: Mapping[str, str]) -> dict[str, Service]:
    """The services by name, with ``env`` put in.

    :raises MissingVariable: ``env`` lacks what the file wants.
    """
    found: dict[str, Service] = yaml.safe_load(interpolated(FILE.read_text("utf-8"), env))["services"]
    for service in found.values():
        given = service.get("environment", {})
        passed_on = {name: env[name] for name, value in given.items() if value is None and name in env}
        service["environment"] = {name: value for name, value in given.items() if value is not None} | passed_on
    return found


def interpolated(text: str, env: Mapping[str, str]) -> str:
    """:raises MissingVariable: a variable of the kind ``:?`` is unset or empty."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match["name"], match["kind"], match["text"]
        if not env.get(name) and kind == ":?":
            raise MissingVariable(f"{name}: {rest}")
        return env.get(name) or rest

    while (replaced := VARIABLE.sub(value, text)) != text:
        text = replaced
    return text


def dockerfile(instruction: str) -> str:
    """The text behind the last ``instruction`` of the Dockerfile."""
    joined = (REPOSITORY / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    return (
        [line for line in joined.splitlines() if line.startswith(f"{instruction} ")][-1]
        .removeprefix(instruction)
        .strip()
    )


def image_command(arguments: list[str] | None = None) -> list[str]:
    """What the image runs: its entry point with a service's ``command:``, or its own."""
    return [*json.loads(dockerfile("ENTRYPOINT")), *(arguments or json.loads(dockerfile("CMD")))]


def image_env() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in dockerfile("ENV").split())


def health_check(service: Service) -> list[str]:
    """The command that is run in the container to see whether it is well: the service's own, else the image's."""
    if "healthcheck" not in service:
        return list(json.loads(dockerfile("HEALTHCHECK").partition("CMD ")[2]))
    kind, *command = service["healthcheck"]["test"]
    assert kind == "CMD"
    return list(command)
