r"""Regular expressions that no ticket can make run away.

Rust's ``regex`` searches them, which comes with pydantic (``regex_engine="rust-regex"``, its default). It follows all
ways through an expression at once, so that a search takes no more than (expression written out) times (text) steps
(docs.rs/regex, "Untrusted input"). Words and digits are those of all scripts (``\b``, ``\w``, ``\d``), case is ignored
unless the expression says ``(?-i)``; look-around and backreferences, which nobody can search so, are refused.
"""

import re
import unicodedata
from dataclasses import dataclass, field

from pydantic_core import SchemaError, SchemaValidator, core_schema

MOST_PLACES = 1000
"""Characters of an expression with its counted repetitions written out. Of 735 random ones within it, on hard texts of
the greatest length that is looked at, the slowest took 1.5 seconds; those that people write take microseconds."""

_PIECES = re.compile(
    r"\\[pPxuU]\{[^}]*\}|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]"
    r"|\{(?P<least>\d+)(?:,(?P<most>\d*))?\}|(?P<again>[?*+])|(?P<open>\((?:\?(?:P?<\w+>|[\w-]*:?))?)|(?P<close>\))|.",
    re.DOTALL,
)
"""Escapes and classes, counts and other repetitions, brackets, single characters."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A regular expression; thread-safe."""

    text: str
    _search: SchemaValidator = field(repr=False, compare=False)

    def occurs_in(self, text: str) -> bool:
        """Whether a part of ``text`` matches; it must be one that UTF-8 can hold."""
        return self._search.isinstance_python(text)


def read_expression(text: str) -> Expression:
    """:raises ValueError: it cannot be searched for; the text says why."""
    if not text:
        raise ValueError("it is empty")
    composed = unicodedata.normalize("NFC", text)
    try:
        schema = core_schema.str_schema(pattern=f"(?i){composed}", regex_engine="rust-regex")
        search = SchemaValidator(schema)
    except SchemaError as error:
        raise ValueError(_reason(error)) from None
    if (places := _places(composed)) > MOST_PLACES:
        raise ValueError(f"written out it is {places:,} characters long, at most {MOST_PLACES:,} are searched for")
    return Expression(text, search)


def _reason(error: SchemaError) -> str:
    """The last line says it, those above show the place."""
    return re.sub(r"^\s*(?:error|SchemaError): ", "", str(error).splitlines()[-1])


def _places(expression: str) -> int:
    """How long it is with its counted repetitions written out, classes and escapes counted as one character."""
    groups, last = [0], 0
    for piece in _PIECES.finditer(expression):
        if piece["least"]:
            times = int(piece["most"] or piece["least"])
            groups[-1] += last * (times - 1)
            last *= times
        elif piece["open"]:
            groups.append(0)
        elif piece["close"] and len(groups) > 1:
            last = groups.pop()
            groups[-1] += last
        elif not piece["again"]:
            last = 1
            groups[-1] += 1
    return sum(groups)
