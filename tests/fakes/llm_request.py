"""Reads a chat completion request as prelabel means it, and refuses what OpenAI, or the project itself, would refuse.

What OpenAI checks: strict structured output, the subset of JSON Schema that it allows. What the project promises: one
system message with the labels, one user message with the tickets fenced as data. Read ``llm_policy`` next, which
answers what is read here.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NO_LABEL = "none"
TOLD = "Reply with one JSON object"
"""With what the form begins where it is told in words."""
TOLD_KEY = re.compile(r'"(\w+)": (\[?)"?<(\w+)>')
LABEL_LINE = re.compile(r"^(\w+) (.+?)(?: - .*)?$", re.MULTILINE)
"""``<id> <text> - <hint>``; a label whose own text holds " - " reads shorter than it is."""
LABEL_KEY = re.compile(r"labels?(_\d+)?")
NOT_PERMITTED = frozenset(
    (
        *("allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas"),
        *("default", "uniqueItems", "minLength", "maxLength"),
    )
)
"""Keywords that strict mode refuses: those that OpenAI's guide "Structured model outputs" lists as unsupported, and
others that its server is reported to call "not permitted"."""
MOST_ENUM_VALUES = 1000
"""Over a whole schema, from the same guide."""


class Refused(Exception):
    """The request gets HTTP 400 with this text."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Control:
    """One question that a request asks of every ticket."""

    key: str
    """Its key in each answer: ``label`` or ``labels``, numbered where there are several controls."""
    multiple: bool
    ids: tuple[str, ...]
    """What the schema allows: the label ids, and ``none`` where "no label fits" is an answer."""
    labels: Mapping[str, str]
    """Label id to displayed text, from the system message."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as it arrived and as it reads."""

    messages: tuple[Mapping[str, str], ...]
    schema: Mapping[str, Any]
    model: str
    temperature: float | None
    headers: Mapping[str, str]
    """By lower-case name."""
    body: Mapping[str, Any]
    """All that was sent."""
    instructions: str
    """The system message."""
    controls: tuple[Control, ...]
    tickets: tuple[tuple[int, str], ...]
    """Id in this request, and text."""
    examples: tuple[Mapping[str, Any], ...]
    """Each its text and what an answer to it would hold."""
    notes: tuple[tuple[str, str], ...]
    """Name and text."""

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(text for _, text in self.tickets)

    @property
    def answer_schema(self) -> Mapping[str, Any]:
        """The properties of one ticket's answer."""
        return _answer_schema(self.schema)


def read_request(body: Mapping[str, Any], headers: Mapping[str, str]) -> Asked:
    """:raises Refused: OpenAI would not take it, or it is not in the project's prompt format."""
    messages = tuple(body.get("messages", ()))
    if [message.get("role") for message in messages] != ["system", "user"]:
        raise Refused("expected one system and one user message", "messages")
    if any(not isinstance(message.get("content"), str) for message in messages):
        raise Refused("expected messages of plain text", "messages")
    system, user = (message["content"] for message in messages)
    given = body.get("response_format") or {"type": "text"}
    schema = _read_schema(given) if given["type"] == "json_schema" else given.get("schema") or _schema_in_words(system)
    return Asked(
        messages=messages,
        schema=schema,
        model=body["model"],
        temperature=body.get("temperature"),
        headers=headers,
        body=body,
        instructions=system,
        controls=tuple(_read_controls(schema, system)),
        tickets=tuple(_read_block(user, "tickets")),
        examples=tuple({"text": text, **answer} for text, answer in _read_block(user, "examples")),
        notes=tuple(_read_block(user, "notes")),
    )


def _read_schema(response_format: Any) -> Mapping[str, Any]:
    given = response_format if isinstance(response_format, dict) else {}
    json_schema = given.get("json_schema", {})
    if given.get("type") != "json_schema" or json_schema.get("strict") is not True:
        raise Refused(f"expected a strict json_schema, got {response_format!r}", "response_format")
    name, schema = json_schema.get("name"), json_schema.get("schema", {})
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", str(name)):
        raise Refused(f"Invalid 'response_format.json_schema.name': {name!r}", "response_format.json_schema.name")
    nodes = list(_nodes(schema, ()))
    for context, node in nodes:
        if problem := _problem(node):
            raise Refused(f"Invalid schema for response_format '{name}': In {context=}, {problem}", "response_format")
    if sum(len(node.get("enum", ())) for _, node in nodes) > MOST_ENUM_VALUES:
        raise Refused(f"Invalid schema for response_format '{name}': too many enum values", "response_format")
    if not _answer_schema(schema):
        raise Refused("expected a schema of answers", "response_format")
    return dict(schema)


def _schema_in_words(system: str) -> Mapping[str, Any]:
    """The schema that the end of the system message tells of, with the ids that stand in its lists of labels."""
    told, lists = system.rpartition(TOLD)[2], system.split('Labels of "')[1:]
    if "JSON" not in system or not lists:
        raise Refused("expected the form in words", "messages")
    ids = iter([*(line[0] for line in LABEL_LINE.findall(each.partition("\n\n")[0])), NO_LABEL] for each in lists)
    answer: dict[str, Any] = {}
    for key, many, kind in TOLD_KEY.findall(told):
        if kind == "id":
            enum = next(ids)
            one = {"type": "string", "enum": enum}
            answer[key] = {"type": "array", "items": {**one, "enum": enum[:-1]}} if many else one
        else:
            answer[key] = {"type": "string" if kind == "text" else kind}
    return {"type": "object", "properties": {"answers": {"type": "array", "items": {"properties": answer}}}}


def _nodes(schema: Any, context: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """A schema and all schemas in it, with the path to each."""
    yield context, schema
    for group in ("properties", "$defs"):
        for name, child in schema.get(group, {}).items():
            yield from _nodes(child, (*context, group, name))
    for index, child in enumerate(schema.get("anyOf", ())):
        yield from _nodes(child, (*context, "anyOf", str(index)))
    if "items" in schema:
        yield from _nodes(schema["items"], (*context, "items"))


def _problem(node: Mapping[str, Any]) -> str:
    """What strict mode has against one schema, in OpenAI's words; empty if nothing."""
    if refused := sorted(NOT_PERMITTED & node.keys()):
        return f"'{refused[0]}' is not permitted."
    if node.get("type") != "object":
        return ""
    if node.get("additionalProperties") is not False:
        return "'additionalProperties' is required to be supplied and to be false."
    if set(node.get("required", ())) != set(node.get("properties", {})):
        return "'required' is required to be supplied and to be an array including every key in properties."
    return ""


def _answer_schema(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    answers = schema.get("properties", {}).get("answers", {})
    properties: Mapping[str, Any] = answers.get("items", {}).get("properties", {})
    return properties


def _read_controls(schema: Mapping[str, Any], system: str) -> Iterator[Control]:
    """The schema says which controls there are; their labels stand in the system message in the same order."""
    lines = LABEL_LINE.findall(system)
    for key, node in _answer_schema(schema).items():
        if not LABEL_KEY.fullmatch(key):
            continue
        multiple = node["type"] == "array"
        ids = tuple((node["items"] if multiple else node)["enum"])
        expected = [label_id for label_id in ids if label_id != NO_LABEL]
        while lines and [label_id for label_id, _ in lines[: len(expected)]] != expected:
            del lines[0]
        if not lines:
            raise Refused(f"the system message does not list the labels {expected} of {key}", "messages")
        yield Control(key, multiple, ids, dict(lines[: len(expected)]))
        del lines[: len(expected)]


def _read_block(user: str, name: str) -> list[tuple[Any, Any]]:
    """The pairs of JSON values between the lines ``<name>`` and ``</name>``, which may stand nowhere else.

    Nothing where neither stands, which only tickets may not do.
    """
    opening, closing = f"<{name}>", f"</{name}>"
    if opening not in user and closing not in user and name != "tickets":
        return []
    lines = user.split("\n")
    if [user.count(fence) for fence in (opening, closing)] != [1, 1] or not {opening, closing} <= set(lines):
        raise Refused(f"expected one unbroken block {opening}", "messages")
    return [_read_pair(line, name) for line in lines[lines.index(opening) + 1 : lines.index(closing)]]


def _read_pair(line: str, name: str) -> tuple[Any, Any]:
    try:
        first, end = json.JSONDecoder().raw_decode(line)
        return first, json.loads(line[end + 1 :])
    except json.JSONDecodeError as error:
        raise Refused(f"a line of <{name}> is no pair of JSON values: {error}", "messages") from None
