"""An LLM's reply to one answer per ticket, or the reason why there is none.

Replies are never trusted to follow the schema: servers ignore it, models wrap JSON in prose or are cut off. What cannot
be read for a ticket is told from what was read and means no label; ``asking`` decides which tickets go again.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from typing import Any

from prelabel.core.match import match_label
from prelabel.core.mend import mended
from prelabel.core.schema import COMMENT, CONFIDENCE, answer_keys, no_label_id
from prelabel.core.signals import LOGPROB, STATED, Grounds, Signals, rounded
from prelabel.core.token_probability import Token, label_probabilities
from prelabel.core.types import Abstained, Choices, Labeled

Answer = Labeled | Abstained

NO_LABEL_FITS = "the LLM says that no label fits"
MOST_OPENINGS = 50
LONGEST_REPLY = 100_000
LONGEST_NUMBER = 10
"""Brackets at which JSON is looked for, and characters in which: no reply may cost more than it is worth."""
UNSTATED_CONFIDENCE = 0.5
"""The score of an answer whose confidence is missing or no number."""
_STAGE = "llm"


def parse_reply(
    reply: str, questions: Sequence[Choices], count: int, logprobs: Sequence[Token] | None = None
) -> dict[int, Answer]:
    """The answers found in ``reply``, by ticket number from 1 to ``count``.

    Tickets that are missing, answered twice or answered with something that is no label are left out: they are to be
    asked again.

    :param logprobs: the reply's tokens with their natural log-probabilities, where they are known.
    """
    probable = label_probabilities(reply[:LONGEST_REPLY], logprobs, questions, count) if logprobs else {}
    answers: dict[int, Answer] = {}
    seen: set[int] = set()
    doubled: set[int] = set()
    items = _read_items(reply, count) or _read_items(mended(reply[:LONGEST_REPLY]), count)
    if any(_number(item.get("id")) == 0 for item in items):
        return {}  # it counts from 0: what it says of 1 may be meant for 2
    for item in items:
        number = _number(item.get("id"))
        if number is None or not 1 <= number <= count:
            continue
        if number in seen:
            doubled.add(number)
        seen.add(number)
        if (answer := read_answer(item, questions, probable.get(number))) is not None:
            answers[number] = answer
    return {number: answer for number, answer in answers.items() if number not in doubled}


def read_answer(
    item: Mapping[str, Any], questions: Sequence[Choices], probable: Mapping[str, float] | None = None
) -> Answer | None:
    """One ticket's answer, or None where a question's labels are missing or none of the config's.

    :param probable: by control how probable its labels' tokens were, where that is known.
    """
    labels: dict[str, tuple[str, ...]] = {}
    comment = str(item.get(COMMENT) or "")
    for key, question in answer_keys(questions).items():
        chosen = _chosen(_written(item, key, lone=len(questions) == 1), question)
        if chosen is None:
            return None
        if chosen or (question.multiple and not question.required):
            labels[question.name] = chosen
    if not labels:
        return Abstained(NO_LABEL_FITS, comment)
    stated = read_confidence(item.get(CONFIDENCE))
    grounds = {name: Grounds(_STAGE, _signals(stated, (probable or {}).get(name))) for name in labels}
    return Labeled(labels, UNSTATED_CONFIDENCE if stated is None else stated, comment, grounds)


def read_confidence(value: object) -> float | None:
    """A stated confidence as a finite number from 0 to 1, whatever was written; from 2 on it is meant in percent.

    None if it is no number.
    """
    text = str(value).strip().replace(",", ".")
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        return None
    if text.endswith("%") or 2 <= number <= 100:
        number /= 100
    return min(1.0, max(0.0, number)) if math.isfinite(number) else None


def _signals(stated: float | None, probability: float | None) -> Signals:
    told = {STATED: stated, LOGPROB: probability}
    return rounded({name: value for name, value in told.items() if value is not None})


def _written(item: Mapping[str, Any], key: str, *, lone: bool) -> object:
    """What stands under ``key``; a lone question's answer may stand under the singular or plural as well."""
    return item.get(key, item.get("label", item.get("labels"))) if lone else item.get(key)


def _chosen(value: object, question: Choices) -> tuple[str, ...] | None:
    """Label values in the config's order without duplicates; () if none fits; None if it cannot be read."""
    written = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str | int) for name in written):
        return None
    names = [str(name) for name in written if str(name).strip() != _no_label(question)]
    found = [match_label(name, question) for name in names]
    if None in found or (len(set(found)) > 1 and not question.multiple):
        return None
    if len(found) == 1 and found[0]:
        return (found[0].value,)
    return tuple(label.value for label in question.labels if label in found)


@lru_cache(maxsize=256)
def _no_label(question: Choices) -> str:
    return no_label_id(question.labels)


def _items(value: object, count: int) -> list[dict[str, Any]]:
    """The answer objects of a reply; a lone object that is asked for one ticket needs neither list nor id."""
    if isinstance(value, dict):
        inner = value.get("answers")
        value = inner if isinstance(inner, list) else [value]
    items = [item for item in value if isinstance(item, dict) and item] if isinstance(value, list) else []
    if count == 1 and len(items) == 1 and _number(items[0].get("id", 1)) in {0, 1}:
        return [{**items[0], "id": 1}]
    return items


def _number(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    return int(text) if text.isdecimal() and len(text) < LONGEST_NUMBER else None


def _read_items(reply: str, count: int) -> list[dict[str, Any]]:
    """The answer objects in ``reply``: of the last JSON value with ``answers``, else of the last list of them.

    Else those that stand by themselves: all that is whole in a list that was cut off, or one object a line. Nothing if
    there is a draft, and what was to take its place was cut off.
    """
    reply = reply[:LONGEST_REPLY]
    found = [(_unwrapped(value), end) for value, end in _json_values(reply)]
    values = [value for value, _ in found]
    ends = [end for value, end in found if _is_named(value)]
    if ends and reply.find('"answers"', ends[-1]) >= 0:
        return []
    named = [value for value in values if _is_named(value)]
    lists = [value for value in values if isinstance(value, list)]
    lone = [value for value in values if isinstance(value, dict) and value not in named]
    candidates = (_items(value, count) for value in (*reversed(named), *reversed(lists), lone))
    return next((items for items in candidates if items), [])


def _is_named(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("answers"), list)


def _json_values(reply: str) -> Iterator[tuple[object, int]]:
    """Every JSON object and array that stands in ``reply``, those within another left out, and where each ends."""
    decoder, end = json.JSONDecoder(), 0
    for opening in islice(re.finditer(r"[{\[]", reply), MOST_OPENINGS):
        if opening.start() >= end:
            with suppress(ValueError, RecursionError):
                value, end = decoder.raw_decode(reply, opening.start())
                yield value, end


def _unwrapped(value: object) -> object:
    """The object with ``answers`` that a careless model has put into another, else ``value`` itself."""
    if isinstance(value, dict) and "answers" not in value:
        return next((inner for inner in value.values() if isinstance(inner, dict) and "answers" in inner), value)
    return value
