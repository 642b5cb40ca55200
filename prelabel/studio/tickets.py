"""A Label Studio task to the text the LLM reads, or the reason why there is none.

HTML becomes its text, a dialogue becomes "speaker: utterance" lines. Links are never followed, whatever a ticket says.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from prelabel.core.types import Abstained, Ticket
from prelabel.studio.html_text import html_text
from prelabel.studio.label_config import LabelConfig, Source

LARGEST_ID = 2**63 - 1
_VARIABLE = re.compile(r"\$(\w[\w.-]*)")


def read_ticket(task: Mapping[str, Any], config: LabelConfig) -> Ticket | Abstained:
    """The ticket in ``task``; an abstention where it holds no text to judge."""
    data = task.get("data")
    if not isinstance(data, Mapping):
        return Abstained("the task has no data")
    found = {source.name: _read_source(data, source) for source in config.sources.values()}
    texts = {name: text for name, text in found.items() if isinstance(text, str)}
    if not any(texts.values()):
        return next((text for text in found.values() if isinstance(text, Abstained)), Abstained("the ticket is empty"))
    body = next(iter(texts.values()))
    if len(found) > 1:
        body = "\n\n".join(f"[{name}]\n{text}" for name, text in texts.items() if text)
    return Ticket(task_id(task), body, {str(name): _plain(value) for name, value in data.items()})


def task_id(task: Mapping[str, Any]) -> int | None:
    """The task's number in Label Studio, None where there is none (a file's row, a test call)."""
    return read_id(task.get("id"))


def read_id(value: object) -> int | None:
    """``value`` as a number of Label Studio's (a task, an annotation, a user), None if it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_ID else None


def _read_source(data: Mapping[str, Any], source: Source) -> str | Abstained:
    found = _lookup(data, source.value)
    if found is None:
        return Abstained(f"the task's data has nothing at {source.value}")
    if source.is_link:
        return Abstained(f"the task's data has a link at {source.value}, and links are not followed")
    if source.kind == "paragraphs":
        return _dialogue(found, source)
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return Abstained(f"the task's data has no text at {source.value} but {_type_name(found)}")
    text = str(found).strip()
    return html_text(text) if source.kind == "hypertext" else text


def _lookup(data: Mapping[str, Any], value: str) -> Any:
    """What a tag's value means for this task: ``$text`` a field, ``$a.b`` a nested one, else text with fields in it."""
    if whole := _VARIABLE.fullmatch(value):
        return _field(data, whole[1])
    if not _VARIABLE.search(value):
        return value
    return _VARIABLE.sub(lambda match: _plain(_field(data, match[1])), value)


def _field(data: Mapping[str, Any], path: str) -> Any:
    if path in data:
        return data[path]
    found: Any = data
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _dialogue(turns: Any, source: Source) -> str | Abstained:
    """ "speaker: utterance" lines; each utterance on one line, so that speakers cannot be forged by a line break."""
    if isinstance(turns, str):
        turns = _parsed(turns)
    if isinstance(turns, str):
        return turns.strip()
    if not isinstance(turns, list):
        return Abstained(f"the task's data has no dialogue at {source.value} but {_type_name(turns)}")
    lines = []
    for turn in turns:
        said = turn.get(source.text_key) if isinstance(turn, Mapping) else turn
        speaker = " ".join(_plain(turn.get(source.name_key)).split()) if isinstance(turn, Mapping) else ""
        utterance = " ".join(_plain(said).split())
        if utterance:
            lines.append(f"{speaker}: {utterance}" if speaker else utterance)
    return "\n".join(lines)


def _parsed(text: str) -> Any:
    """A dialogue that an import left as JSON text, else the text itself."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, list) else text


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _type_name(value: Any) -> str:
    return {bool: "a boolean", list: "a list", dict: "an object"}.get(type(value), "a number")
