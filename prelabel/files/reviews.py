"""Rows to what is to be done with them: ask, or pass on what a person has said already, or leave out.

A row is reviewed if one of its label columns is filled, or if it is a task with an annotation that was not skipped.
What a label column says becomes an annotation; the column itself stays in the data, which is the row as it is.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prelabel.core.match import match_label
from prelabel.core.schema import label_ids
from prelabel.core.types import Abstained, Choices, Example, Labeled
from prelabel.errors import RequestError
from prelabel.files.rows import Malformed, Row, why_not_importable
from prelabel.studio.annotations import read_annotation
from prelabel.studio.label_config import LabelConfig
from prelabel.studio.predictions import batch_item
from prelabel.studio.tickets import read_ticket

Annotation = Mapping[str, Any]

_SEPARATORS = (";", "|", ",", "\n")
"""What stands between the labels of a multiple choice, tried in turn."""
_VARIABLE = re.compile(r"\$([\w.-]+)")


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A row that nobody needs to be asked about."""

    row: Row
    annotations: Sequence[Annotation]
    example: Example | None
    """What others may be shown of it; None if it has no text or no label of the config, or if no person chose it."""


class Sorter:
    """Tells reviewed rows from others.

    :param label_columns: where labels stand, by the question's name; see :func:`find_label_columns`.
    """

    def __init__(self, config: LabelConfig, label_columns: Mapping[str, str]) -> None:
        self._config = config
        self._columns = {label_columns[q.name]: _Cell(q) for q in config.questions if q.name in label_columns}

    def sort(self, rows: Iterable[Row | Malformed]) -> Iterator[Row | Reviewed | Malformed]:
        """Each row as what it is: to be asked about, reviewed, or malformed."""
        return (row if isinstance(row, Malformed) else self._sort(row) for row in rows)

    def _sort(self, row: Row) -> Row | Reviewed | Malformed:
        row = replace(row, data=_with_dialogues(row.data, self._config))
        if reason := why_not_importable(row.data, self._config):
            return Malformed(row.number, row.line, reason)
        if any(not annotation.get("was_cancelled") for annotation in row.annotations):
            return Reviewed(row, row.annotations, self._annotated(row))
        labels: dict[str, tuple[str, ...]] = {}
        for column, cell in self._columns.items():
            chosen = cell.read(row.data.get(column))
            if chosen is None:
                wrong = json.dumps(row.data[column], ensure_ascii=False)[:60]
                return Malformed(row.number, row.line, f"its {column!r} is {wrong}, which is {cell.expected}")
            if chosen:
                labels[cell.question.name] = chosen
        if not labels:
            return row
        return Reviewed(row, [*row.annotations, self._annotation(labels)], self._example(row, labels))

    def _annotated(self, row: Row) -> Example | None:
        """Made of the newest annotation in which a person chose labels."""
        task = {"id": row.number, "data": row.data}
        found = [read_annotation({**each, "id": 0}, task, self._config) for each in row.annotations]
        chosen = [annotation for annotation in found if annotation and annotation.source.is_person]
        newest = max(chosen, key=lambda annotation: annotation.updated_at, default=None)
        return self._example(row, newest.labels) if newest else None

    def _annotation(self, labels: Mapping[str, tuple[str, ...]]) -> Annotation:
        """``origin``: as Label Studio's interface marks what a person chose, so that it is learned from there too."""
        regions = batch_item(Labeled(labels, 1.0), self._config, "")["result"]
        return {"result": [{**region, "origin": "manual"} for region in regions]}

    def _example(self, row: Row, labels: Mapping[str, tuple[str, ...]]) -> Example | None:
        ticket = read_ticket({"id": row.number, "data": row.data}, self._config)
        offered = {question.name: {label.value for label in question.labels} for question in self._config.questions}
        if isinstance(ticket, Abstained) or any(not offered[name].issuperset(labels[name]) for name in labels):
            return None
        return Example(row.number, ticket.text, {name: labels.get(name, ()) for name in offered})


def find_label_columns(config: LabelConfig, wanted: str | None, columns: Sequence[str]) -> Mapping[str, str]:
    """By a question's name the column in which its labels stand.

    :param wanted: a column's name; empty for none; None for those called as the question, unless the label config
        shows them as text.
    :param columns: the file's, empty where they are not known beforehand.
    :raises RequestError: there is no such column, or it cannot be one of labels.
    """
    shown = {name.partition(".")[0] for source in config.sources.values() for name in _VARIABLE.findall(source.value)}
    names = [question.name for question in config.questions]
    if wanted is None:
        return {name: name for name in names if name not in shown}
    if not wanted:
        return {}
    if len(names) > 1:
        raise RequestError(
            "label_column",
            f"the label config asks {len(names)} questions ({', '.join(names)}): name the columns as they are",
        )
    if wanted in shown:
        raise RequestError("label_column", f"the label config shows {wanted!r} as the ticket's text")
    if columns and wanted not in columns:
        raise RequestError("label_column", f"there is no column {wanted!r}; there are: {', '.join(columns)}")
    return {names[0]: wanted}


class _Cell:
    """How one question's labels are written in a column: a label, JSON as Label Studio exports it, several labels."""

    def __init__(self, question: Choices) -> None:
        self.question = question
        self._ids = label_ids(question.labels)

    @property
    def expected(self) -> str:
        return "not of the config's labels" if self.question.multiple else "not one of the config's labels"

    def read(self, value: object) -> tuple[str, ...] | None:
        """Label values in the config's order, () for an empty cell, None if anything in it is no label."""
        found = {self._label(name) for name in self._names(value)}
        if None in found or (len(found) > 1 and not self.question.multiple):
            return None
        return tuple(label.value for label in self.question.labels if label.value in found)

    def _names(self, value: object) -> list[object]:
        if isinstance(value, Mapping):
            value = value.get("choices", value)
        if isinstance(value, list):
            return value
        if value is None or (isinstance(value, str) and not value.strip()):
            return []
        if not isinstance(value, str) or self._label(value):
            return [value]
        if value.lstrip().startswith(("[", "{")) and (parsed := _parsed(value)) is not None:
            return self._names(parsed)
        for separator in _SEPARATORS:
            names = [name for name in value.split(separator) if name.strip()]
            if len(names) > 1 and all(map(self._label, names)):
                return [*names]
        return [value]

    def _label(self, written: object) -> str | None:
        """The value of the label that is written; the ids by which the LLM knows labels are no names for them."""
        name = str(written)
        if not isinstance(written, str | int) or name.strip() in self._ids:
            return None
        label = match_label(name, self.question)
        return label.value if label else None


def _with_dialogues(data: Mapping[str, Any], config: LabelConfig) -> Mapping[str, Any]:
    """``data`` with lists for dialogues that a table has as JSON text, which Label Studio would take for a link."""
    found = {}
    for source in config.sources.values():
        text = data.get(source.value.removeprefix("$"))
        if source.kind == "paragraphs" and isinstance(text, str) and isinstance(turns := _parsed(text), list):
            found[source.value.removeprefix("$")] = turns
    return {**data, **found}


def _parsed(text: str) -> Any:
    """What ``text`` is as JSON, None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
