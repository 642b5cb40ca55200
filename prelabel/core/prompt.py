"""Questions, prompt, examples and tickets to the two messages that an LLM is sent.

What is the same for every ticket comes first (instructions, labels, the project's prompt: the system message), what
changes comes last (notes, examples, then tickets: the user message), so that providers can cache the beginning.

Ticket text is data. It is sent as JSON strings, one ticket a line, between a line ``<tickets>`` and a line
``</tickets>``: JSON leaves no way to write a line break, and the fence's own words are escaped in it, so nothing inside
can open or close a fence. It is never passed to ``str.format`` or any other template language: placeholders of a prompt
template are replaced in one pass, and what replaces them is not looked at again.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Literal

from prelabel.core.schema import answer_keys, label_ids, no_label_id
from prelabel.core.types import Choices, Example, Note, Ticket

INSTRUCTIONS_VERSION = "classify_v2"
_COMMENT_RULE, _REPAIR = "comment_v1", "repair_v1"
NOTES = "What the team says of terms and rules that may matter here:"

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_FENCE = re.compile(r"<(?=/?(?:tickets|examples|notes|data)\b)", re.IGNORECASE)
_UNSAFE = re.compile("[\x85\u2028\u2029\ud800-\udfff]")
"""What JSON may hold as it is, but that ends a line for some readers, or is half a character and cannot be sent."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat; ``role`` as in OpenAI's protocol."""

    role: Literal["system", "user"]
    content: str


def build_messages(
    questions: Sequence[Choices],
    prompt: str,
    tickets: Sequence[Ticket],
    examples: Sequence[Example] = (),
    *,
    notes: Sequence[Note] = (),
    template: str = "",
    with_comment: bool = False,
    is_repair: bool = False,
) -> tuple[Message, ...]:
    """What the LLM is sent about ``tickets``, which it knows as 1, 2, ... in this order.

    :param prompt: the project's own instructions, may be empty.
    :param template: a text with the placeholders ``{prompt}``, ``{labels}``, ``{text}`` and any field of the task,
        which takes the place of ``prompt``. One with any :func:`ticket_fields` takes one ticket a request.
    :param with_comment: say what the schema's comment is for.
    :param is_repair: say that an earlier reply was of no use.
    """
    labels = render_labels(questions)
    rules = read_instructions() + (f"\n{_read(_COMMENT_RULE)}" if with_comment else "")
    system = f"{rules}\n\n{labels}"
    user = _fenced("tickets", [f"{number} {to_data(ticket.text)}" for number, ticket in enumerate(tickets, 1)])
    if template:
        fields = tickets[0].fields if tickets else {}
        rendered = _fill(template, fields, labels=labels, prompt=prompt, text=f"\n{user}\n")
        user = rendered if "{text}" in template else f"{rendered}\n\n{user}"
    elif prompt:
        system += f"\n\nInstructions of this project:\n{prompt}"
    known = [f"{to_data(note.name)} {to_data(note.text)}" for note in notes]
    known_to = f"{NOTES}\n{_fenced('notes', known)}" if notes else ""
    shown = _fenced("examples", [_example(example, questions) for example in examples]) if examples else ""
    repair = _read(_REPAIR) if is_repair else ""
    return Message("system", system), Message("user", "\n\n".join(filter(None, (known_to, shown, user, repair))))


def ticket_fields(template: str, tickets: Sequence[Ticket]) -> set[str]:
    """The placeholders that name fields of the tickets' tasks, and so are filled differently for each of them."""
    named = set(_PLACEHOLDER.findall(template)) - {"labels", "prompt", "text"}
    return {name for name in named if any(name in ticket.fields for ticket in tickets)}


def render_labels(questions: Sequence[Choices]) -> str:
    """The labels as the LLM reads them: a heading per question, then ``id text - hint`` lines."""
    return "\n\n".join(_render_question(key, question) for key, question in answer_keys(questions).items())


def read_instructions() -> str:
    """The instructions for every request."""
    return _read(INSTRUCTIONS_VERSION)


@cache
def _read(version: str) -> str:
    """A text of ours; a released file is never edited, a change is a new version."""
    return files("prelabel.core").joinpath(f"prompts/{version}.txt").read_text("utf-8").strip()


@lru_cache(maxsize=256)
def _render_question(key: str, question: Choices) -> str:
    rule = "every id that fits" if question.multiple else "one id"
    otherwise = ", or an empty list" if question.multiple else f', or "{no_label_id(question.labels)}"'
    lines = [f'Labels of "{question.name}" ("{key}": {rule}{otherwise} if none fits):']
    for label_id, label in label_ids(question.labels).items():
        text = " ".join(label.text.split())
        lines.append(f"{label_id} {text} - {' '.join(label.hint.split())}" if label.hint else f"{label_id} {text}")
    return "\n".join(lines)


def _example(example: Example, questions: Sequence[Choices]) -> str:
    """The text, and what an answer to it would hold."""
    shown: dict[str, Any] = {}
    for key, question in answer_keys(questions).items():
        chosen = set(example.labels.get(question.name, ()))
        ids = [label_id for label_id, label in label_ids(question.labels).items() if label.value in chosen]
        shown[key] = ids if question.multiple else (ids or [no_label_id(question.labels)])[0]
    return f"{to_data(example.text)} {to_data(shown)}"


def _fenced(name: str, lines: Sequence[str]) -> str:
    return "\n".join((f"<{name}>", *lines, f"</{name}>"))


def to_data(value: object) -> str:
    """``value`` as JSON on one line in which nothing can be mistaken for a line of the fence."""
    line = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    line = _UNSAFE.sub(lambda char: f"\\u{ord(char[0]):04x}", line)
    return _FENCE.sub(r"\\u003c", line)


def _fill(template: str, fields: Mapping[str, str], *, labels: str, prompt: str, text: str) -> str:
    ours = {"labels": labels, "prompt": prompt, "text": text}

    def replacement(match: re.Match[str]) -> str:
        name = match[1]
        if name in ours:
            return ours[name]
        return f"<data>{to_data(fields[name])}</data>" if name in fields else match[0]

    return _PLACEHOLDER.sub(replacement, template)
