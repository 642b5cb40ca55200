"""The settings: valid, consistent, and as somebody who has just written a ``.env`` file means them.

A wrong one does not end the examination: what does not hang on it is checked with the others.
"""

import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

from prelabel.address import is_loopback, without_login
from prelabel.config import Settings
from prelabel.doctor.findings import Finding, are, failed, ok, warning
from prelabel.errors import SettingsError
from prelabel.guidance.notes import Guidance
from prelabel.guidance.rules import RuleSource

CHECK = "settings"
QUOTES = frozenset("\"'`“”„\u2018\u2019")
PIECES = {
    "redis": ("REDIS_",),
    "llm": ("OPENAI_", "AZURE_", "OLLAMA_", "LLM_", "TEMPERATURE"),
    "label studio": ("LABEL_STUDIO_",),
    "backend": ("HOST", "PORT", "PRELABEL_URL", "BASIC_AUTH_", "ALLOW_NO_AUTH"),
    "projects": ("",),
}
"""What the names of the variables begin with that a piece hangs on."""


@dataclass(frozen=True, slots=True)
class Read:
    """The settings as far as they can be read."""

    settings: Settings
    left_out: frozenset[str] = frozenset()
    """Variables that are wrong."""

    def why_not(self, piece: str) -> str:
        """Why a piece cannot be checked, empty if it can."""
        names = sorted(name for name in self.left_out if name.startswith(PIECES[piece]))
        return f"{are(names)} wrong" if names else ""


def check_settings(given: Mapping[str, str]) -> Generator[Finding, None, Read | None]:
    """:returns: None where nothing is left to go on with."""
    yield from _check_quotes(given)
    left = dict(given)
    while True:
        try:
            settings = Settings.from_env(left)
            _ = settings.default_prompt_text
            Guidance().check(settings)
            RuleSource().check(settings)
        except SettingsError as error:
            named = [name for name in left if re.search(rf"\b{name}\b", str(error))]
            yield failed(CHECK, str(error), "correct it, then start backend and workers again")
            if not named:
                return None
            left = {name: value for name, value in left.items() if name not in named}
            continue
        if left.keys() == given.keys():
            yield ok(CHECK, f"{len(given)} are set, none of them wrong")
        return Read(settings, frozenset(given) - frozenset(left))


def check_listening(settings: Settings) -> Iterator[Finding]:
    """Who can reach the backend, and whether those are the right ones."""
    try:
        settings.require_safe_listening()
    except SettingsError as error:
        told, _, cure = str(error).partition(": ")
        yield failed("listening", told, cure)
    else:
        kind = "with a password" if settings.has_auth else "without a password"
        yield ok("listening", f"{settings.host}:{settings.port}, {kind}")
    studio = settings.label_studio_url
    if studio and is_loopback(settings.address) and not is_loopback(studio):
        yield warning(
            "own address",
            f"Label Studio at {without_login(studio)} looks for this backend at {settings.address}, "
            "which there is the machine or container of Label Studio itself",
            "set PRELABEL_URL to where Label Studio reaches this backend, such as http://backend:9090",
        )


def _check_quotes(given: Mapping[str, str]) -> Iterator[Finding]:
    """Docker's ``--env-file`` keeps quotes, and word processors curl them; only a prompt may mean them."""
    for name, value in given.items():
        if "PROMPT" not in name and {value[0], value[-1]} & QUOTES:
            yield warning(
                CHECK,
                f"{name} has a quotation mark as part of its value",
                f"take the quotes around {name}'s value away",
            )
