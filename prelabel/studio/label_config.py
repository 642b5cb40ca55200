"""Label Studio's label config (XML) to the questions it asks, the texts they are about, and its prompt fields.

Controls are found by their type and ``toName``, never by name alone: the published intent example calls its Choices
``response``. What cannot be answered is left out with its reason; a config of which nothing is left is an error.
Read ``tickets`` next, which finds a task's text by what this module returns.
"""

import hashlib
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache

from prelabel.core.types import Choices, Label
from prelabel.errors import LabelConfigError

RESPONSE_PREFIX = "response"
REASONING_PREFIX = "reasoning"
TEXT_OBJECTS = frozenset({"text", "hypertext", "paragraphs"})


@dataclass(frozen=True, slots=True)
class Source:
    """An object tag: where in a task's data the text stands and how it is written there."""

    name: str
    kind: str
    """``text``, ``hypertext`` or ``paragraphs``."""
    value: str
    """The tag's value as written, such as ``$text``."""
    name_key: str = "author"
    text_key: str = "text"
    is_link: bool = False


@dataclass(frozen=True, slots=True)
class TextField:
    """A ``TextArea`` that takes a prompt or shows the LLM's words."""

    name: str
    to_name: str


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """What prelabel understands of a label config."""

    questions: tuple[Choices, ...]
    sources: Mapping[str, Source] = field(hash=False)
    """Those the questions are about, by name, in the config's order."""
    prompt_field: TextField | None = None
    response_field: TextField | None = None
    reasoning_field: TextField | None = None
    """Where predictions say why."""

    @property
    def fingerprint(self) -> str:
        """A hash of what answers depend on: controls, labels, sources; not of colours, layout or prompt fields."""
        parts = [asdict(question) for question in self.questions], [asdict(source) for source in self.sources.values()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=128)
def parse_label_config(xml: str, prompt_prefix: str = "prompt") -> LabelConfig:
    """:raises LabelConfigError: not well-formed, or nothing in it that can be answered; the text says why."""
    root = _read_xml(xml)
    objects = {tag.get("name", ""): tag for tag in root.iter() if _is_object(tag)}
    controls = {tag: _why_not(tag, objects) for tag in root.iter() if _kind(tag) == "choices"}
    questions = tuple(_question(tag) for tag, reason in controls.items() if not reason)
    if not questions:
        raise LabelConfigError(
            "the label config has no control that prelabel can answer. It answers <Choices> over <Text>, <HyperText> "
            f"or <Paragraphs>: {'; '.join(controls.values()) or 'it has none'}"
        )
    targets = [question.to_name for question in questions]
    sources = {name: _source(tag) for name, tag in objects.items() if name in targets}
    fields = [
        _text_field(tag) for tag in root.iter() if _kind(tag) == "textarea" and not _is_true(tag.get("perRegion"))
    ]
    prompt_field = _pick(fields, prompt_prefix, targets)
    others = [text_field for text_field in fields if text_field != prompt_field]
    response_field, reasoning_field = (_pick(others, prefix, targets) for prefix in (RESPONSE_PREFIX, REASONING_PREFIX))
    return LabelConfig(questions, sources, prompt_field, response_field, reasoning_field)


def _read_xml(xml: str) -> ET.Element:
    if not isinstance(xml, str) or not xml.strip():
        raise LabelConfigError("the label config is missing")
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise LabelConfigError("the label config declares a document type; Label Studio's have none")
    try:
        return ET.fromstring(xml.strip())  # noqa: S314 - no document type, so no entities to expand or fetch
    except (ET.ParseError, ValueError) as error:
        raise LabelConfigError(f"the label config is not well-formed XML: {error}") from None


def _why_not(tag: ET.Element, objects: Mapping[str, ET.Element]) -> str:
    """Why this Choices cannot be answered, empty if it can."""
    name = tag.get("name", "")
    target = objects.get(tag.get("toName", ""))
    if not name or target is None:
        return f"Choices {name!r}: its toName={tag.get('toName')!r} is no object of the config"
    if _kind(target) not in TEXT_OBJECTS:
        return f"Choices {name!r}: it is about a {target.tag}"
    for attribute in ("perRegion", "perItem", "allowNested"):
        if _is_true(tag.get(attribute)):
            return f"Choices {name!r}: {attribute} is not supported"
    if not any(_labels(tag)):
        return f"Choices {name!r}: it has no fixed labels"
    return ""


def _question(tag: ET.Element) -> Choices:
    labels: dict[str, Label] = {}
    for label in _labels(tag):
        labels.setdefault(label.value, label)
    return Choices(
        name=tag.get("name", ""),
        to_name=tag.get("toName", ""),
        labels=tuple(labels.values()),
        multiple=tag.get("choice", "single").lower() == "multiple",
        required=_is_true(tag.get("required")),
    )


def _labels(tag: ET.Element) -> Iterator[Label]:
    for choice in tag.iter():
        text = choice.get("value", "")
        if _kind(choice) == "choice" and text.strip():
            others = re.split(r"\s*,\s*", choice.get("predicted_values", "").strip())
            hint = choice.get("hint", "").strip()
            yield Label(choice.get("alias") or text, text.strip(), hint, tuple(filter(None, others)))


def _source(tag: ET.Element) -> Source:
    return Source(
        name=tag.get("name", ""),
        kind=_kind(tag),
        value=tag.get("value", ""),
        name_key=tag.get("nameKey") or "author",
        text_key=tag.get("textKey") or "text",
        is_link=tag.get("valueType", "").lower() == "url",
    )


def _text_field(tag: ET.Element) -> TextField:
    return TextField(tag.get("name", ""), tag.get("toName", ""))


def _pick(fields: list[TextField], prefix: str, targets: list[str]) -> TextField | None:
    """The text field whose name starts with ``prefix``: one about what the questions are about, else the first."""
    named = [text_field for text_field in fields if text_field.name.startswith(prefix)]
    return next((text_field for text_field in named if text_field.to_name in targets), next(iter(named), None))


def _is_object(tag: ET.Element) -> bool:
    """Object tags have a name and a value and belong to no other tag."""
    return bool(tag.get("name") and tag.get("value") and not tag.get("toName"))


def _kind(tag: ET.Element) -> str:
    return tag.tag.lower() if isinstance(tag.tag, str) else ""


def _is_true(value: str | None) -> bool:
    return (value or "").strip().lower() in {"true", "1", "yes"}
