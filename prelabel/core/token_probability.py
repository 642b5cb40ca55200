"""How probable a reply's labels were to the LLM: from its tokens' log-probabilities, those that make up the label ids.

Only of a reply in exactly the form that was asked for, whatever prose stands around it; a draft, a label by its name, a
number that comes twice or tokens that are not the reply's have no probability rather than a wrong one. ``parse`` reads
the labels themselves.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from prelabel.core.schema import answer_keys, label_ids
from prelabel.core.types import Choices

Token = tuple[str, float]
"""Its text and its natural log-probability."""

ROUNDING = 1e-3
"""How far above 0 a log-probability may be: servers compute in few digits."""

_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SCALAR = rf"(?:{_STRING}|[\w.+-]++)"
_LIST = rf"\[\s*+(?:{_SCALAR}(?:\s*+,\s*+{_SCALAR})*+\s*+)?+\]"
_PAIR = rf"({_STRING})\s*+:\s*+({_SCALAR}|{_LIST})"
_ANSWER = rf"\{{\s*+{_PAIR}(?:\s*+,\s*+{_PAIR})*+\s*+\}}"
_REPLY = rf'\{{\s*+"answers"\s*+:\s*+\[\s*+(?P<answers>{_ANSWER}(?:\s*+,\s*+{_ANSWER})*+)\s*+\]\s*+\}}'
_PLAIN = re.compile(rf"[^{{\[]*+(?P<json>{_REPLY})[^{{\[]*+", re.DOTALL)
_EACH_ANSWER, _EACH_PAIR = re.compile(_ANSWER, re.DOTALL), re.compile(_PAIR, re.DOTALL)
_VISIBLE = re.compile(r"[!-~]")

Span = tuple[int, int]


def label_probabilities(
    reply: str, tokens: Sequence[Token], questions: Sequence[Choices], count: int
) -> dict[int, dict[str, float]]:
    """By ticket number from 1 to ``count`` and control: how probable the labels that ``reply`` gives were, 0 to 1.

    Of a single choice the joint probability of the tokens from the id to the quote after it: where every digit is a
    token, it is only there that ``"1"`` parts from ``"12"``. Of a multiple choice that of all from the first id to the
    bracket that closes the list, since not to go on is part of the choice; other orders of the same labels are not
    counted, so it is the least that the set's probability can be. What JSON has between them is near certain.

    :param tokens: in order; there may be others before and after the reply's own (thoughts, the end of the text).
    """
    spans = list(_label_spans(reply, questions, count))
    owners = _owners(reply, tokens) if spans else {}
    found: dict[int, dict[str, float]] = {}
    for number, control, (start, end) in spans:
        own = [owners[place] for place in range(start, end) if place in owners]
        if own and (probability := _joint(tokens[own[0] : own[-1] + 1])) is not None:
            found.setdefault(number, {})[control] = probability
    return found


def _label_spans(reply: str, questions: Sequence[Choices], count: int) -> Iterator[tuple[int, str, Span]]:
    """Ticket number, control, and where in ``reply`` the tokens that choose its labels begin and end."""
    plain = _PLAIN.fullmatch(reply)
    if plain is None or not _is_json(plain["json"]):
        return
    answers = list(_EACH_ANSWER.finditer(reply, *plain.span("answers")))
    items = [json.loads(answer.group()) for answer in answers]
    numbers = Counter(str(item.get("id")) for item in items)
    for answer, item in zip(answers, items, strict=True):
        pairs = {json.loads(pair[1]): pair for pair in _EACH_PAIR.finditer(reply, answer.start() + 1, answer.end())}
        number = item.get("id")
        if type(number) is not int or not 1 <= number <= count or numbers[str(number)] > 1:
            continue
        for key, question in answer_keys(questions).items():
            if (pair := pairs.get(key)) and _is_plain(item[key], pair[2], question):
                yield number, question.name, (pair.start(2) + 1, pair.end(2))


def _is_json(text: str) -> bool:
    """Whether it is, without a key that comes twice in an object: of two labels the reader takes the last."""
    try:
        json.loads(text, object_pairs_hook=_unambiguous)
    except ValueError:
        return False
    return True


def _unambiguous(pairs: list[tuple[str, Any]]) -> None:
    """:raises ValueError: a key comes twice."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError(pairs)


def _is_plain(value: object, written: str, question: Choices) -> bool:
    """Whether these are label ids in the form that was asked for.

    :param written: ``value`` in JSON, as it stands in the reply.
    """
    ids = _ids(question)
    if not question.multiple:
        return isinstance(value, str) and value in ids and written == f'"{value}"'
    chosen = value if isinstance(value, list) else [None]
    return all(isinstance(each, str) and each in ids for each in chosen) and len(set(chosen)) == len(chosen)


@lru_cache(maxsize=256)
def _ids(question: Choices) -> frozenset[str]:
    return frozenset(label_ids(question.labels))


def _owners(reply: str, tokens: Sequence[Token]) -> dict[int, int]:
    """The place among ``tokens`` of each visible ASCII character, by its own in ``reply``; empty if that is uncertain.

    Others are left out: a character may be spread over several tokens, of which none holds it, and some servers show a
    space as ``▁`` or not at all. Ids and JSON's punctuation are ASCII, which is no part of any other character in
    UTF-8: where such characters follow each other alike, each is in its own token.
    """
    found = list(_VISIBLE.finditer(reply))
    shown = [_VISIBLE.findall(text) for text, _ in tokens]
    said, joined = "".join(each.group() for each in found), "".join(chain.from_iterable(shown))
    start = joined.find(said)
    if start < 0 or joined.rfind(said) != start or not any(log < 0 for _, log in tokens):
        return {}  # some servers that know of no probability tell 0 of every token
    owners = [place for place, text in enumerate(shown) for _ in text]
    return {each.start(): owner for each, owner in zip(found, owners[start:], strict=False)}


def _joint(tokens: Sequence[Token]) -> float | None:
    """The probability of all of ``tokens``; None where one of them has no log-probability."""
    if not all(-math.inf < log <= ROUNDING for _, log in tokens):
        return None
    return math.exp(min(0.0, sum(log for _, log in tokens)))
