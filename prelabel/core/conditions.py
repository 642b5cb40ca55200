"""What a rule asks of a ticket: conditions on its text and on the fields of its task.

A condition holds or does not hold, whatever a ticket has in it; nothing holds of a field that the task does not have.
Words are compared as those of a glossary (see ``terms``), expressions look at the text as it is, in composed characters
(NFC). How an expression is searched for is not known here: see ``Pattern``.
"""

import operator
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from types import MappingProxyType
from typing import Protocol

from prelabel.core.terms import occurs, plain
from prelabel.core.types import Ticket

LONGEST = 32_000
"""Characters of a text that are looked at, half of them at its beginning and half at its end."""
COMPARISONS = MappingProxyType(
    {"greater": operator.gt, "less": operator.lt, "at_least": operator.ge, "at_most": operator.le}
)


class Condition(Protocol):
    """True or false of a ticket. A value: two that ask the same are equal and look the same."""

    def holds(self, reading: "Reading") -> bool: ...


class Pattern(Protocol):
    """A regular expression whose search takes time in proportion to the text, whatever stands in it."""

    def occurs_in(self, text: str) -> bool: ...


class Value:
    """A text or a field's content, in the forms in which it is compared, each made when it is first asked for."""

    def __init__(self, text: str) -> None:
        half = LONGEST // 2
        self._text = text if len(text) <= LONGEST else f"{text[:half]}\n{text[-half:]}"

    @cached_property
    def composed(self) -> str:
        """In composed characters, and without halves of a character, which nothing outside Python can read."""
        return unicodedata.normalize("NFC", self._text.encode("utf-8", "replace").decode())

    @cached_property
    def plain(self) -> str:
        return plain(self._text)

    @cached_property
    def number(self) -> float | None:
        """None if it is no number, or none that can be compared."""
        try:
            number = float(self._text)
        except ValueError:
            return None
        return number if isfinite(number) else None


class Reading:
    """A ticket as conditions look at it."""

    def __init__(self, ticket: Ticket) -> None:
        self._text = Value(ticket.text)
        self._fields: Mapping[str, str] = ticket.fields
        self._read: dict[str, Value] = {}

    def value(self, field: str | None) -> Value | None:
        """The text for None; None where the task has no such field."""
        if field is None:
            return self._text
        if field not in self._read and field in self._fields:
            self._read[field] = Value(self._fields[field])
        return self._read.get(field)


@dataclass(frozen=True, slots=True)
class Words:
    """One of these words, or words in a row, occurs as a whole."""

    forms: tuple[str, ...]
    """Plain."""
    field: str | None = None

    def holds(self, reading: Reading) -> bool:
        value = reading.value(self.field)
        return value is not None and any(occurs(form, value.plain) for form in self.forms)


@dataclass(frozen=True, slots=True)
class Matching:
    """One of these expressions matches a part of it."""

    patterns: tuple[Pattern, ...]
    field: str | None = None

    def holds(self, reading: Reading) -> bool:
        value = reading.value(self.field)
        return value is not None and any(pattern.occurs_in(value.composed) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class Equal:
    """A field is one of these, whatever its case and width."""

    forms: tuple[str, ...]
    field: str

    def holds(self, reading: Reading) -> bool:
        value = reading.value(self.field)
        return value is not None and value.plain in self.forms


@dataclass(frozen=True, slots=True)
class Containing:
    """A field has one of these in it, be it within a word."""

    forms: tuple[str, ...]
    field: str

    def holds(self, reading: Reading) -> bool:
        value = reading.value(self.field)
        return value is not None and any(form in value.plain for form in self.forms)


@dataclass(frozen=True, slots=True)
class Compared:
    """A field is a number that compares so to this one."""

    comparison: str
    """One of ``COMPARISONS``."""
    number: float
    field: str

    def holds(self, reading: Reading) -> bool:
        value = reading.value(self.field)
        return (
            value is not None and value.number is not None and COMPARISONS[self.comparison](value.number, self.number)
        )


@dataclass(frozen=True, slots=True)
class Every:
    """All of these hold."""

    conditions: tuple[Condition, ...]

    def holds(self, reading: Reading) -> bool:
        return all(condition.holds(reading) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of these holds."""

    conditions: tuple[Condition, ...]

    def holds(self, reading: Reading) -> bool:
        return any(condition.holds(reading) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Not:
    """This does not hold."""

    condition: Condition

    def holds(self, reading: Reading) -> bool:
        return not self.condition.holds(reading)
