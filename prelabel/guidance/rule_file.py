"""A file of rules (``RULES_FILE``) to the rules: YAML, a mapping from their names.

A rule has a ``label``, perhaps a ``control`` and a ``priority``, and conditions of which all must hold. What is wrong
is told with its line; nothing is passed over. Whether the labels exist is a question of the project: ``fit_rules``.
"""

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import yaml

from prelabel.core.conditions import (
    COMPARISONS,
    Compared,
    Condition,
    Containing,
    Equal,
    Every,
    Matching,
    Not,
    Some,
    Words,
)
from prelabel.core.rules import Rule
from prelabel.core.terms import plain
from prelabel.guidance.expressions import Expression, read_expression
from prelabel.guidance.lines import WrongLine, compose, line_of, read_lines, scalar

DEEPEST = 20
"""Blocks within blocks."""
MOST_TESTED = 200_000
"""Keywords, expressions and other conditions of all rules; a file of the largest size holds no more unless it refers to
parts of itself (``*name``), which may make a small file endless."""

RULE_KEYS = ("control", "label", "priority")
BLOCK_KEYS = ("keywords", "matches", "fields", "any", "all", "not")
FIELD_KEYS = ("equals", "in", "contains", "keywords", "matches", *COMPARISONS)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line ``key: value``."""

    key: str
    value: yaml.Node
    line: int


def read_rules(path: Path) -> tuple[Rule, ...]:
    """The rules, in the file's order.

    :raises SettingsError: it cannot be read, or one of its lines is wrong; the text names both.
    """
    return read_lines("RULES_FILE", path, lambda text: tuple(_rules(text)))


def _rules(text: str) -> Iterator[Rule]:
    root = compose(text)
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise WrongLine(line_of(root), "expected lines of the form NAME: and below each its label and conditions")
    conditions = _Conditions()
    for entry in _entries(root, "the file"):
        if not isinstance(entry.value, yaml.MappingNode):
            raise WrongLine(entry.line, f"{entry.key!r} must have a label and conditions below it")
        yield _rule(entry, conditions)


def _rule(entry: _Entry, conditions: "_Conditions") -> Rule:
    name, line = entry.key, entry.line
    parts = _allowed(_entries(entry.value, repr(name)), repr(name), (*RULE_KEYS, *BLOCK_KEYS))
    said = {part.key: part for part in parts if part.key in RULE_KEYS}
    tested = [part for part in parts if part.key in BLOCK_KEYS]
    if "label" not in said:
        raise WrongLine(line, f"{name!r} has no label")
    if not tested:
        raise WrongLine(line, f"{name!r} has no condition: one of {', '.join(BLOCK_KEYS)}")
    return Rule(
        name=name,
        labels=_texts(said["label"], f"the label of {name!r}"),
        condition=conditions.block(tested, repr(name), 0),
        control=_text(said["control"], f"the control of {name!r}") if "control" in said else "",
        priority=_whole_number(said["priority"], f"the priority of {name!r}") if "priority" in said else 0,
        line=line,
    )


class _Conditions:
    """Reads conditions, as many as there may be."""

    def __init__(self) -> None:
        self._left = MOST_TESTED

    def block(self, entries: list[_Entry], what: str, depth: int) -> Condition:
        """What holds if all of ``entries`` do."""
        if depth > DEEPEST:
            raise WrongLine(entries[0].line, f"{what} has conditions more than {DEEPEST} deep")
        return _every([self._condition(entry, what, depth) for entry in entries])

    def _condition(self, entry: _Entry, what: str, depth: int) -> Condition:
        told = f"{entry.key} of {what}"
        match entry.key:
            case "keywords":
                return Words(self._forms(entry, told))
            case "matches":
                return Matching(self._expressions(entry, told))
            case "fields":
                return _every([self._field(field, told) for field in _entries(entry.value, told, entry.line)])
            case "any":
                return Some(self._blocks(entry, told, depth + 1))
            case "all":
                return Every(self._blocks(entry, told, depth + 1))
            case _:
                blocks = self._blocks(entry, told, depth + 1)
                return Not(blocks[0] if len(blocks) == 1 else Some(blocks))

    def _blocks(self, entry: _Entry, what: str, depth: int) -> tuple[Condition, ...]:
        nodes = entry.value.value if isinstance(entry.value, yaml.SequenceNode) else [entry.value]
        if not nodes:
            raise WrongLine(entry.line, f"{what} has no conditions")
        self._take(len(nodes), entry.line)
        return tuple(
            self.block(_allowed(_entries(node, what, entry.line), what, BLOCK_KEYS), what, depth) for node in nodes
        )

    def _field(self, entry: _Entry, what: str) -> Condition:
        field, told = entry.key, f"{entry.key!r} in {what}"
        if not isinstance(entry.value, yaml.MappingNode):
            return Equal(self._forms(entry, told, may_be_empty=True), field)
        tests = _allowed(_entries(entry.value, told), told, FIELD_KEYS)
        return _every([self._test(test, field, f"{test.key} of {told}") for test in tests])

    def _test(self, entry: _Entry, field: str, what: str) -> Condition:
        match entry.key:
            case "equals" | "in":
                return Equal(self._forms(entry, what, may_be_empty=True), field)
            case "contains":
                return Containing(self._forms(entry, what), field)
            case "keywords":
                return Words(self._forms(entry, what), field)
            case "matches":
                return Matching(self._expressions(entry, what), field)
            case comparison:
                return Compared(comparison, _number(entry, what), field)

    def _forms(self, entry: _Entry, what: str, *, may_be_empty: bool = False) -> tuple[str, ...]:
        texts = _texts(entry, what, may_be_empty=may_be_empty)
        self._take(len(texts), entry.line)
        return tuple(dict.fromkeys(map(plain, texts)))

    def _expressions(self, entry: _Entry, what: str) -> tuple[Expression, ...]:
        texts = _texts(entry, what)
        self._take(len(texts), entry.line)
        return tuple(_expression(text, entry.line, what) for text in texts)

    def _take(self, count: int, line: int) -> None:
        self._left -= count
        if self._left < 0:
            raise WrongLine(line, f"with it there are more than {MOST_TESTED:,} keywords and conditions")


def _every(conditions: list[Condition]) -> Condition:
    return conditions[0] if len(conditions) == 1 else Every(tuple(conditions))


def _entries(node: yaml.Node, what: str, line: int = 0) -> list[_Entry]:
    """The lines of a mapping, at least one.

    :param line: where it is told of, if not where it stands.
    """
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise WrongLine(line or line_of(node), f"{what} must be lines of the form NAME: VALUE")
    found: dict[str, _Entry] = {}
    for key, value in node.value:
        name = " ".join(_scalar(key, line_of(key), f"a name in {what}").split())
        if not name:
            raise WrongLine(line_of(key), f"a name in {what} is empty")
        if name in found:
            raise WrongLine(line_of(key), f"{name!r} stands in line {found[name].line} already")
        found[name] = _Entry(name, value, line_of(key))
    return list(found.values())


def _allowed(entries: list[_Entry], what: str, keys: tuple[str, ...]) -> list[_Entry]:
    for entry in entries:
        if entry.key not in keys:
            raise WrongLine(entry.line, f"{what} has {entry.key!r}; it may have {', '.join(keys)}")
    return entries


def _texts(entry: _Entry, what: str, *, may_be_empty: bool = False) -> tuple[str, ...]:
    """A text or a list of texts, at least one."""
    if not isinstance(entry.value, yaml.SequenceNode):
        return (_text(entry, what, may_be_empty=may_be_empty),)
    if not entry.value.value:
        raise WrongLine(entry.line, f"{what} is empty")
    each = [_Entry(entry.key, node, line_of(node)) for node in entry.value.value]
    return tuple(_text(one, f"one of {what}", may_be_empty=may_be_empty) for one in each)


def _text(entry: _Entry, what: str, *, may_be_empty: bool = False) -> str:
    text = _scalar(entry.value, entry.line, what)
    if not text.strip() and not (may_be_empty and entry.value.style):
        raise WrongLine(entry.line, f"{what} is empty")
    return text


def _scalar(node: yaml.Node, line: int, what: str) -> str:
    """Also refuses what a backslash in double quotes becomes, where one was meant for an expression."""
    text = scalar(node, line, what)
    for char in text:
        if unicodedata.category(char) == "Cc" and not char.isspace():
            raise WrongLine(line, f"{what} has the character {char!r}; a backslash stays one in single quotes")
    return text


def _expression(text: str, line: int, what: str) -> Expression:
    try:
        return read_expression(text)
    except ValueError as error:
        raise WrongLine(line, f"{what}: {text!r} is no expression that can be used: {error}") from None


def _read_number(entry: _Entry, what: str, kind: Callable[[str], float], allowed: str) -> float:
    text = _text(entry, what)
    try:
        number = kind(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise WrongLine(entry.line, f"{what} is {text!r}; it must be {allowed}")
    return number


def _number(entry: _Entry, what: str) -> float:
    return _read_number(entry, what, float, "a number")


def _whole_number(entry: _Entry, what: str) -> int:
    return int(_read_number(entry, what, int, "a whole number"))
