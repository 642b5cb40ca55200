"""The content of a completion as tokens with log-probabilities, in the shape in which OpenAI tells them.

The tokens join to the content exactly. All are near certain but those of the label ids, whose joint probability is what
the LLM thinks of the labels: what the policy says of a ticket, else the confidence that stands beside them.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

NEAR_CERTAIN = -1.9361265e-07
"""What OpenAI tells of a token that could hardly be another."""
IMPOSSIBLE = -9999.0
"""What OpenAI and vLLM tell in place of minus infinity."""
UNSTATED = 0.9

USUAL = re.compile(r"\d{1,3}| ?[^\W\d]+| ?[^\w\s]+|\s+")
"""About as GPT-4o's vocabulary cuts JSON: ``":``, `` "``, ``12``, ``",``."""
MERGED = re.compile(r"[ \"\[]*\d\"?|" + USUAL.pattern)
"""A digit a token, with the quotes and brackets beside it: `` "1``, ``2"``."""
CHARACTERS = re.compile(r".", re.DOTALL)

_TICKET = re.compile(r'"id": *(\d+)')
_LABELS = re.compile(r'"labels?(?:_\d+)?": *("[^"]*"|\[[^\]]*\])')
_NAME = re.compile(r'(?<=")[^",\[\]]+(?=")')
_STATED = re.compile(r'"confidence": *([\d.]+)')


def logprobs_body(content: str, believed: Mapping[int, float], cut: re.Pattern[str]) -> dict[str, Any]:
    """What stands under ``logprobs`` of a choice.

    :param believed: by ticket number, how probable its labels are.
    :param cut: matches one token after the other.
    """
    costs = dict(_label_costs(content, believed))
    tokens = []
    for token in cut.finditer(content):
        at = [costs[place] for place in range(*token.span()) if place in costs]
        pieces = _pieces(token.group())
        tokens += [_token(piece, sum(at) if at and piece is pieces[0] else NEAR_CERTAIN) for piece in pieces]
    return {"content": tokens, "refusal": None}


def _label_costs(content: str, believed: Mapping[int, float]) -> Iterator[tuple[int, float]]:
    """Where the first character of each label id stands, or where an empty list is closed, with its log-probability."""
    for labels in _LABELS.finditer(content):
        before, after = list(_TICKET.finditer(content, 0, labels.start())), _STATED.search(content, labels.end())
        stated = float(after[1]) if after else UNSTATED
        probability = believed.get(int(before[-1][1]), stated) if before else stated
        places = [name.start() for name in _NAME.finditer(content, *labels.span(1))] or [labels.end() - 1]
        log = max(IMPOSSIBLE, math.log(probability)) if probability > 0 else IMPOSSIBLE
        yield from ((place, min(NEAR_CERTAIN, log / len(places))) for place in places)


def _pieces(text: str) -> list[bytes]:
    """``text``, in the middle of its first character of four bytes cut in two, as vocabularies of bytes do."""
    raw = text.encode(errors="surrogatepass")
    middle = next((place + 2 for place, byte in enumerate(raw) if byte >= 0xF0), len(raw))
    return [piece for piece in (raw[:middle], raw[middle:]) if piece]


def _token(raw: bytes, log: float) -> dict[str, Any]:
    return {"token": raw.decode(errors="backslashreplace"), "logprob": log, "bytes": list(raw), "top_logprobs": []}
