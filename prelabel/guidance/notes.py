"""What bears on each ticket: the terms of the glossary that occur in it, then the snippets of the guidelines that fit.

Both files are as their last edit left them, whatever the model version: neither is part of it, so that mending a
sentence has nothing predicted anew, and new answers go by it at once.
"""

from collections.abc import Sequence
from pathlib import Path

from prelabel.config import Settings
from prelabel.core.terms import Term, Terms
from prelabel.core.tokens import cut_middle
from prelabel.core.types import Note, Ticket
from prelabel.guidance.fitting import Snippets
from prelabel.guidance.folder import folder_state, read_snippets
from prelabel.guidance.glossary import glossary_state, read_glossary
from prelabel.guidance.kept import Kept

SNIPPETS_SHARE = 3
"""One part in so many of ``LLM_MAX_INPUT_TOKENS`` may go to snippets, split evenly among a request's tickets."""


class Guidance:
    """Notes of all projects, which may share files; one a process, shared by its threads."""

    def __init__(self) -> None:
        self._glossaries = Kept(glossary_state, lambda path: Terms(read_glossary(path)))
        self._folders = Kept(folder_state, lambda path: Snippets(read_snippets(path)))

    def notes(self, settings: Settings, tickets: Sequence[Ticket]) -> list[list[Note]]:
        """For each ticket its notes, the most fitting first.

        :param settings: with the project's own over the environment's.
        :raises SettingsError: a file cannot be used and never could be in this process.
        """
        found: list[list[Note]] = [[] for _ in tickets]
        if settings.glossary_file:
            terms = self._glossaries.get(Path(settings.glossary_file))
            for notes, ticket in zip(found, tickets, strict=True):
                notes += map(_note, terms.find(cut_middle(ticket.text, settings.llm_max_input_tokens)))
        if settings.context_dir:
            room = settings.llm_max_input_tokens // SNIPPETS_SHARE // settings.llm_tasks_per_request
            snippets = self._folders.get(Path(settings.context_dir))
            for notes, fitting in zip(found, snippets.fitting([t.text for t in tickets], room), strict=True):
                notes += fitting
        return found

    def check(self, settings: Settings) -> None:
        """:raises SettingsError: a file that the settings name cannot be used."""
        self.notes(settings, ())


def _note(term: Term) -> Note:
    others = f" ({', '.join(term.aliases)})" if term.aliases else ""
    return Note(term.name, f"{term.name}{others}: {term.explanation}")
