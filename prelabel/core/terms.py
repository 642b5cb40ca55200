"""Terms of a glossary, and which of them occur in a text of any language.

A term occurs as a whole word or words, whatever their case, width (NFKC), dashes and apostrophes. Where words stand
without spaces between them (Chinese, Japanese, Thai) or have endings attached (Korean), it may stand anywhere.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_RUNS_ON = re.compile(
    "[\u0e00-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u318f\u31f0-\u31ff\u3400-\u9fff\ua960-\ua97f"
    "\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Thai, Lao, Tibetan, Burmese, Khmer, kana, bopomofo, Han and Hangul."""
_SPELLINGS = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-") | dict.fromkeys("\u2018\u2019\u02bc", "'")
)


@dataclass(frozen=True, slots=True)
class Term:
    """A word or words, and what they mean to those who label."""

    name: str
    explanation: str
    aliases: tuple[str, ...] = ()
    """Other forms in which it occurs: abbreviations, plurals, other languages."""


class Terms:
    """Terms to be found; of those that share a form, the first has it."""

    def __init__(self, terms: Iterable[Term]) -> None:
        self._forms: dict[str, Term] = {}
        for term in terms:
            for form in (term.name, *term.aliases):
                self._forms.setdefault(plain(form), term)
        self._forms.pop("", None)
        lengths: dict[str, set[int]] = {}
        for form in self._forms:
            lengths.setdefault(form[0], set()).add(len(form))
        self._lengths = {first: tuple(found) for first, found in lengths.items()}

    def find(self, text: str) -> list[Term]:
        """Those that occur in ``text``, each once, the longest occurrence first.

        A part of a longer term's occurrence is none of its own: "credit note" does not hold "credit".
        """
        text = plain(text)
        taken = bytearray(len(text))
        found: dict[str, Term] = {}
        for start, end in sorted(self._spans(text), key=lambda span: (span[0] - span[1], span[0])):
            if not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                term = self._forms[text[start:end]]
                found.setdefault(term.name, term)
        return list(found.values())

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        for start, char in enumerate(text):
            if (lengths := self._lengths.get(char)) and _may_part(text, start):
                for end in (start + length for length in lengths if start + length <= len(text)):
                    if text[start:end] in self._forms and _may_part(text, end):
                        yield start, end


def occurs(form: str, text: str) -> bool:
    """Whether a term stands in a text; both as :func:`plain` makes them, and the term not empty."""
    start = text.find(form)
    while start >= 0:
        if _may_part(text, start) and _may_part(text, start + len(form)):
            return True
        start = text.find(form, start + 1)
    return False


def plain(text: str) -> str:
    """``text`` as terms are compared: width, composition, case, spaces, dashes and apostrophes made alike."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.translate(_SPELLINGS).split())


def _may_part(text: str, at: int) -> bool:
    """Whether a word may begin or end at this place."""
    if at in {0, len(text)}:
        return True
    before, after = text[at - 1], text[at]
    return not (_is_of_word(before) and _is_of_word(after)) or bool(_RUNS_ON.match(before) or _RUNS_ON.match(after))


def _is_of_word(char: str) -> bool:
    return char.isalnum() or char == "_" or unicodedata.category(char).startswith("M")
