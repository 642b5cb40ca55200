"""What bears on each ticket: the terms of the glossary that occur in it, then the snippets of the guidelines that fit.

Both files are as their last edit left them, whatever the model version: neither is part of it, so that mending a
sentence has nothing predicted anew, and new answers go by it at once. How many of the notes a request has room for is
``asking``'s to see to.
"""

from collections.abc import Sequence
from pathlib import Path

from prelabel.config import Settings
from prelabel.core.terms import Term, Terms
from prelabel.core.tokens import cut_middle
from prelabel.core.types import Note, Ticket
from prelabel.guidance.fitting import Snippets
from prelabel.guidance.folder import folder_state, read_snippets
from prelabel.guidance.glossary import read_glossary
from prelabel.guidance.lines import file_state
from prelabel.guidance.watched import Watched


class Guidance:
    """Notes of all projects, which may share files; one a process, shared by its threads."""

    def __init__(self) -> None:
        self._glossaries = Watched(file_state, lambda path: Terms(read_glossary(path)))
        self._folders = Watched(folder_state, lambda path: Snippets(read_snippets(path)))

    def notes(self, settings: Settings, tickets: Sequence[Ticket]) -> list[list[Note]]:
        """For each ticket its notes, the most fitting first.

        :param settings: with the project's own over the environment's.
        :raises SettingsError: a file cannot be used and never could be in this process.
        """
        of_terms = self._explained(settings, tickets) if settings.glossary_file else [[] for _ in tickets]
        of_guidelines = self._fitting(settings, tickets) if settings.context_dir else [[] for _ in tickets]
        return [[*terms, *snippets] for terms, snippets in zip(of_terms, of_guidelines, strict=True)]

    def check(self, settings: Settings) -> None:
        """:raises SettingsError: a file that the settings name cannot be used."""
        self.notes(settings, ())

    def _explained(self, settings: Settings, tickets: Sequence[Ticket]) -> list[list[Note]]:
        terms = self._glossaries.get(Path(settings.glossary_file))
        read = (cut_middle(ticket.text, settings.llm_max_input_tokens) for ticket in tickets)
        return [[_note(term) for term in terms.find(text)] for text in read]

    def _fitting(self, settings: Settings, tickets: Sequence[Ticket]) -> list[list[Note]]:
        return self._folders.get(Path(settings.context_dir)).fitting([ticket.text for ticket in tickets])


def _note(term: Term) -> Note:
    return Note(term.name, f"(or {', '.join(term.aliases)}) {term.explanation}" if term.aliases else term.explanation)
