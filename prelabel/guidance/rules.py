"""What the rules of a project say of its tickets, as their file was edited last."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path

from prelabel.config import Settings
from prelabel.core.rules import Rules, Votes, fit_rules
from prelabel.core.types import Choices, Ticket
from prelabel.guidance.lines import file_state
from prelabel.guidance.rule_file import read_rules
from prelabel.guidance.watched import Watched

MOST_FITTED = 64
"""Label configs to which the rules of a file are fitted only once."""

Fitted = tuple[Rules, tuple[str, ...]]


class RuleSource:
    """Rules of all projects, which may share files; one a process, shared by its threads."""

    def __init__(self) -> None:
        self._files = Watched(file_state, _fitting)

    def votes(self, settings: Settings, questions: Sequence[Choices], tickets: Sequence[Ticket]) -> list[Votes]:
        """For each ticket what is voted of each control; nothing at all without a file.

        :param settings: with the project's own over the environment's.
        :raises SettingsError: the file cannot be used and never could be in this process.
        """
        rules = self.rules(settings, questions)
        return [rules.vote(ticket) for ticket in tickets]

    def rules(self, settings: Settings, questions: Sequence[Choices]) -> Rules:
        """Those that are for a project of these controls.

        :raises SettingsError: as for :meth:`votes`.
        """
        return self._fitted(settings, questions)[0]

    def left_out(self, settings: Settings, questions: Sequence[Choices]) -> tuple[str, ...]:
        """Why each of the others is not: its line, its name, and what the label config does not have.

        :raises SettingsError: as for :meth:`votes`.
        """
        return self._fitted(settings, questions)[1]

    def check(self, settings: Settings) -> None:
        """:raises SettingsError: the file that the settings name cannot be used."""
        self._fitted(settings, ())

    def _fitted(self, settings: Settings, questions: Sequence[Choices]) -> Fitted:
        if not settings.rules_file:
            return Rules(questions, ()), ()
        return self._files.get(Path(settings.rules_file))(tuple(questions))


def _fitting(path: Path) -> Callable[[tuple[Choices, ...]], Fitted]:
    """What fits the file's rules to a label config."""
    return lru_cache(MOST_FITTED)(partial(fit_rules, read_rules(path)))
