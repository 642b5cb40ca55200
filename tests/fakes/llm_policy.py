"""What the fake LLM thinks of a ticket, and how it says so in the schema that it was sent.

A policy is any function from a ticket's text and its request to a verdict; a test may bring its own. ``by_words`` is
the one used otherwise: it can be predicted by reading the ticket, and it obeys examples and prompts, so that tests see
whether these arrived.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.llm_request import NO_LABEL, Asked, Control

ALWAYS = re.compile(r"^ALWAYS (.+?)\s*$", re.MULTILINE)
COMMENT = "Chosen by its words."


@dataclass(frozen=True, slots=True)
class Verdict:
    """Labels by their displayed text, none if no label fits, and how sure the LLM is."""

    labels: tuple[str, ...] = ()
    confidence: float = 0.9
    comment: str = COMMENT
    probability: float | None = None
    """Of the tokens of each control's labels; where it is not given, as confident."""


Policy = Callable[[str, Asked], Verdict | str]
"""A bare text stands for a verdict of that one label."""


def by_words(text: str, asked: Asked) -> Verdict:
    """An example of the same text, else a line ``ALWAYS <label>`` of the prompt, else the label sharing most words."""
    for example in asked.examples:
        if example["text"] == text:
            return Verdict(tuple(label for control in asked.controls for label in _labels_of(example, control)), 0.97)
    if orders := ALWAYS.findall(asked.instructions):
        return Verdict((orders[-1],), 0.95)
    best = [max(_ranked(text, control)) for control in asked.controls]
    return Verdict(tuple(label for _, _, label in best), round(min(0.4 + 0.55 * share for share, _, _ in best), 2))


def verdicts(asked: Asked, policy: Policy) -> dict[int, Verdict]:
    """By ticket number."""
    found = {ticket_id: policy(text, asked) for ticket_id, text in asked.tickets}
    return {number: said if isinstance(said, Verdict) else Verdict((said,)) for number, said in found.items()}


def reply(asked: Asked, found: Mapping[int, Verdict]) -> str:
    """The content of a completion that satisfies the request's schema."""
    answers = [_answer(number, verdict, asked) for number, verdict in found.items()]
    return json.dumps({"answers": answers}, ensure_ascii=False)


def _ranked(text: str, control: Control) -> list[tuple[float, int, str]]:
    """Each label's share of words found in the text, its rank (the first label wins a tie) and its text."""
    words = _words(text)
    return [
        (len(words & _words(label)) / max(1, len(_words(label))), -index, label)
        for index, label in enumerate(control.labels.values())
    ]


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.lower()))


def _labels_of(example: Mapping[str, Any], control: Control) -> list[str]:
    given = example.get(control.key, [])
    return [
        control.labels[label_id]
        for label_id in ([given] if isinstance(given, str) else given)
        if label_id in control.labels
    ]


def _answer(ticket_id: int, verdict: Verdict, asked: Asked) -> dict[str, Any]:
    controls = {control.key: control for control in asked.controls}
    offered = {label for control in asked.controls for label in control.labels.values()}
    if unknown := set(verdict.labels) - offered:
        raise ValueError(f"the policy chose {sorted(unknown)}, the labels are {sorted(offered)}")
    answer: dict[str, Any] = {}
    for key, node in asked.answer_schema.items():
        if key in controls:
            answer[key] = _choose(verdict, controls[key])
        else:
            answer[key] = {"integer": ticket_id, "number": verdict.confidence, "string": verdict.comment}[node["type"]]
    return answer


def _choose(verdict: Verdict, control: Control) -> str | list[str]:
    ids = [label_id for label_id, label in control.labels.items() if label in verdict.labels]
    if control.multiple:
        return ids
    if not ids and NO_LABEL not in control.ids:
        raise ValueError(f"{control.key} allows no {NO_LABEL!r}, and {verdict.labels} names none of its labels")
    return ids[0] if ids else NO_LABEL
