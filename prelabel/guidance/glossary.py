"""A file of terms (``GLOSSARY_FILE``) to the terms: YAML or CSV, by the file's ending.

YAML is a mapping ``term: explanation`` or ``term: {explanation: ..., aliases: [...]}``; words that YAML takes for a
switch or a number, such as ``no`` or ``007``, stay as they are written. CSV has the columns ``term``, ``explanation``
and, if wanted, ``aliases``. What is wrong is told with its line; nothing is passed over.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import yaml

from prelabel.core.terms import Term, plain
from prelabel.core.tokens import estimate_tokens
from prelabel.guidance.lines import WrongLine, compose, read_lines, scalar

LONGEST_EXPLANATION_TOKENS = 300
"""It is sent with every ticket that holds the term."""
DELIMITERS = ",;\t"

_BETWEEN_ALIASES = re.compile(r"[,;|]")


@dataclass(frozen=True, slots=True)
class _Entry:
    line: int
    name: str
    explanation: str
    aliases: tuple[str, ...] = ()


def read_glossary(path: Path) -> tuple[Term, ...]:
    """The terms, in the file's order.

    :raises SettingsError: it cannot be read, or one of its lines is wrong; the text names both.
    """
    read = _read_csv if path.suffix.lower() == ".csv" else _read_yaml
    return read_lines("GLOSSARY_FILE", path, lambda text: tuple(_checked(read(text))))


def _checked(entries: Iterable[_Entry]) -> Iterator[Term]:
    """The terms, each with an explanation and with forms that no other has."""
    lines: dict[str, int] = {}
    for entry in entries:
        name, explanation = " ".join(entry.name.split()), " ".join(entry.explanation.split())
        if not name:
            raise WrongLine(entry.line, "it has no term")
        if not explanation:
            raise WrongLine(entry.line, f"{name!r} has no explanation")
        if (tokens := estimate_tokens(explanation)) > LONGEST_EXPLANATION_TOKENS:
            most = f"at most {LONGEST_EXPLANATION_TOKENS} are sent with each ticket; longer texts go into CONTEXT_DIR"
            raise WrongLine(entry.line, f"the explanation of {name!r} is about {tokens} tokens long, {most}")
        aliases = tuple(dict.fromkeys(alias for each in entry.aliases if (alias := " ".join(each.split()))))
        for form, written in {plain(each): each for each in (*aliases, name)}.items():
            if form in lines:
                raise WrongLine(entry.line, f"{written!r} stands in line {lines[form]} already")
            lines[form] = entry.line
        yield Term(name, explanation, tuple(alias for alias in aliases if plain(alias) != plain(name)))


def _read_yaml(text: str) -> Iterator[_Entry]:
    """Nodes are read rather than values, since they know their lines and keep what would be lost: doubles, ``no``."""
    root = compose(text)
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise WrongLine(root.start_mark.line + 1, "expected lines of the form TERM: EXPLANATION")
    for key, value in root.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise WrongLine(line, "a term must be a text")
        if isinstance(value, yaml.MappingNode):
            yield _read_fields(line, key.value, value)
        else:
            yield _Entry(line, key.value, scalar(value, line, f"the explanation of {key.value!r}"))


def _read_fields(line: int, name: str, node: yaml.MappingNode) -> _Entry:
    fields = {str(key.value): value for key, value in node.value}
    if unknown := sorted(fields.keys() - {"explanation", "aliases"}):
        raise WrongLine(line, f"{name!r} has {unknown[0]!r}; it may have an explanation and aliases")
    explanation, aliases = fields.get("explanation"), fields.get("aliases")
    if isinstance(aliases, yaml.SequenceNode):
        listed = tuple(scalar(each, line, f"each alias of {name!r}") for each in aliases.value)
    else:
        listed = _split(scalar(aliases, line, f"the aliases of {name!r}")) if aliases else ()
    return _Entry(line, name, scalar(explanation, line, f"the explanation of {name!r}") if explanation else "", listed)


def _read_csv(text: str) -> Iterator[_Entry]:
    delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        header = [name.strip().casefold() for name in next(reader, ())]
        if not {"term", "explanation"}.issubset(header):
            raise WrongLine(1, "the header must name the columns term and explanation")
        line = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if len(cells) != len(header):
                    raise WrongLine(line, f"it has {len(cells)} fields, the header has {len(header)}")
                row = dict(zip(header, cells, strict=True))
                yield _Entry(line, row["term"], row["explanation"], _split(row.get("aliases", "")))
            line = reader.line_num + 1
    except csv.Error as error:
        raise WrongLine(line, f"it is not CSV: {error}") from None


def _split(aliases: str) -> tuple[str, ...]:
    return tuple(_BETWEEN_ALIASES.split(aliases))
