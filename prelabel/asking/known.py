"""Answers that are known already: what shapes an answer, as the name under which it is kept."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from prelabel.asking.requests import Assignment, Told
from prelabel.core.kept import Answers, packed, unpacked
from prelabel.core.parse import Answer
from prelabel.core.prompt import build_messages, ticket_fields
from prelabel.core.schema import reply_schema
from prelabel.core.types import Abstained, Labeled, Outcome


class Known:
    """What is kept of earlier answers to one assignment.

    :param llm: names the models that are asked, and how.
    """

    def __init__(self, answers: Answers, assignment: Assignment, llm: Sequence[object]) -> None:
        self._answers = answers
        self._questions = assignment.questions
        self._template = assignment.template
        bare = build_messages(assignment.questions, assignment.prompt, [], template=assignment.template)
        shape = [
            *(llm, assignment.template, assignment.max_input_tokens, [message.content for message in bare]),
            *(reply_schema(assignment.questions), repr(assignment.questions)),
        ]
        self._shape = hashlib.sha256(_canonical(shape)).hexdigest()

    def recall(self, told: Sequence[Told]) -> list[Answer | None]:
        """For each the answer that is known, None where there is none. May block."""
        kept = self._answers.recall([self._subject(each) for each in told])
        return [unpacked(text, self._questions) if text else None for text in kept]

    def keep(self, asked: Iterable[tuple[Told, Outcome]]) -> None:
        """Keep what has been answered. May block."""
        fresh: dict[str, str] = {}
        for each, outcome in asked:
            if isinstance(outcome, Labeled | Abstained) and (text := packed(outcome, self._questions)):
                fresh[self._subject(each)] = text
        self._answers.keep(fresh)

    def names(self, told: Sequence[Told]) -> list[str]:
        """Of each what its answer can be kept by when nothing else is known of it any more; may block."""
        return self._answers.names([self._subject(each) for each in told])

    def _subject(self, told: Told) -> str:
        ticket = told.ticket
        fields = {name: ticket.fields[name] for name in ticket_fields(self._template, [ticket])}
        shown = [[example.text, _plain(example.labels)] for example in told.examples]
        notes = [[note.name, note.text] for note in told.notes]
        return self._shape + _canonical([ticket.text, fields, shown, notes]).decode(errors="surrogatepass")


def _plain(labels: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {name: list(values) for name, values in labels.items()}


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
