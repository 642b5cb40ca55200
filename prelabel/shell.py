"""What all commands share: their options, and how they fail."""

import math
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import click

from prelabel.errors import PrelabelError

P = ParamSpec("P")
R = TypeVar("R")

project_option = click.option(
    "--project", "project_id", type=int, required=True, metavar="ID", help="Project's number."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def dollars(amount: float | None) -> str:
    """US dollars as people read them: cents, or two digits of what is less."""
    if amount is None:
        return "unknown"
    places = 2 if amount >= 1 or not amount else max(2, 1 - math.floor(math.log10(amount)))
    return f"${amount:.{places}f}"


def told(command: Callable[P, R]) -> Callable[P, R]:
    """A command whose expected failures are a line on standard error and exit status 1."""

    @wraps(command)
    def telling(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except PrelabelError as error:
            raise click.ClickException(str(error)) from error

    return telling
