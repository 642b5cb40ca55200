"""Outcomes to what Label Studio takes as predictions, each checked before it leaves.

Label Studio validates nothing that a backend sends, and a region of the wrong shape makes its task impossible to open
(LABEL_STUDIO 1.23: a string for ``choices``, a missing ``type`` or ``value``). So nothing leaves here that is not of
the exact shape; what is not is a bug of ours and raised as one.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

from prelabel.core.types import Abstained, Failed, Labeled, Outcome, Withheld
from prelabel.errors import InvalidPrediction
from prelabel.studio.label_config import LabelConfig, TextField

Region = dict[str, Any]
Item = dict[str, Any]

LONGEST_RATIONALE = 1000
"""Characters: what is to be read beside a ticket is short."""
_UNSTORABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
"""Control characters, of which PostgreSQL refuses a NUL with all that is imported along, and half characters."""


def batch_item(outcome: Outcome, config: LabelConfig, model_version: str) -> Item:
    """One task's item of ``/predict``'s results.

    ``{}`` for a failure, which Label Studio skips and may ask again; an empty result for an abstention, which it keeps
    and does not ask again; the same without a score for a task that is withheld.
    """
    match outcome:
        case Labeled(labels=labels, score=score):
            regions = [_choices(config, name, values) for name, values in labels.items() if values]
            regions += _rationale(outcome, config)
            return checked({"result": regions, "score": score, "model_version": model_version}, config)
        case Abstained():
            return {"result": [], "score": 0.0, "model_version": model_version}
        case Withheld():
            return {"result": [], "score": None, "model_version": model_version}
        case Failed():
            return {}


def interactive_item(outcome: Outcome, config: LabelConfig, prompt: str, model_version: str) -> Item:
    """The reply to a prompt typed in the labeling interface: the labels, the prompt itself, and what is to be said.

    The interface shows no error of any kind, so a failure is told in the response field, where the config has one.
    """
    regions: list[Region] = []
    score = 0.0
    if isinstance(outcome, Labeled):
        regions = [_choices(config, name, values) for name, values in outcome.labels.items()]
        score = outcome.score
    if isinstance(outcome, Abstained):  # what an earlier prompt had selected is not this one's answer
        regions = [_choices(config, question.name, ()) for question in config.questions]
    if isinstance(outcome, Labeled | Abstained):
        regions += _rationale(outcome, config)
    if config.prompt_field:
        regions.append(_text(config.prompt_field, prompt))
    if config.response_field and (said := _said(outcome, config)):
        regions.append(_text(config.response_field, said))
    return checked({"result": regions, "score": score, "model_version": model_version}, config)


def message_item(config: LabelConfig, message: str) -> Item:
    """An interactive reply that only says something, to the extent that the config has a place for it."""
    return {"result": [_text(config.response_field, message)] if config.response_field else []}


def checked(item: Item, config: LabelConfig) -> Item:
    """``item`` itself.

    :raises InvalidPrediction: it is not of the shape that Label Studio's interface can show.
    """
    score = item["score"]
    if not (isinstance(score, float) and 0.0 <= score <= 1.0):
        raise InvalidPrediction(f"score {score!r} is not from 0 to 1")
    names = [region["from_name"] for region in item["result"]]
    if len(set(names)) != len(names):
        raise InvalidPrediction(f"a control is answered twice: {names}")
    for region in item["result"]:
        if reason := _what_is_wrong(region, config):
            raise InvalidPrediction(f"{region['from_name']!r} {reason}")
    return item


def _what_is_wrong(region: Region, config: LabelConfig) -> str:
    value = region["value"].get("choices" if region["type"] == "choices" else "text")
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        return "holds no list of texts"
    if region["type"] == "textarea":
        fields = (config.prompt_field, config.response_field, config.reasoning_field)
        is_known = TextField(region["from_name"], region["to_name"]) in fields
        return "" if is_known else f"is no text field about {region['to_name']!r}"
    question = next((question for question in config.questions if question.name == region["from_name"]), None)
    if question is None or question.to_name != region["to_name"]:
        return f"is no control about {region['to_name']!r}"
    if len(set(value)) != len(value) or not {label.value for label in question.labels}.issuperset(value):
        return "holds what are not distinct labels of the config"
    return "takes one label" if len(value) > 1 and not question.multiple else ""


def _rationale(outcome: Labeled | Abstained, config: LabelConfig) -> list[Region]:
    """Why the LLM answered so, where it said so and the config has a place for it."""
    text = _UNSTORABLE.sub(" ", outcome.comment).strip()
    if not config.reasoning_field or not text:
        return []
    is_long = len(text) > LONGEST_RATIONALE
    return [_text(config.reasoning_field, f"{text[: LONGEST_RATIONALE - 1].rstrip()}…" if is_long else text)]


def _said(outcome: Outcome, config: LabelConfig) -> str:
    match outcome:
        case Labeled(comment=comment, labels=labels):
            return comment or "; ".join(_spelled(config, labels.items()))
        case Abstained(reason=reason, comment=comment):
            return f"No label: {reason}. {comment}".strip()
        case Failed(reason=reason):
            return f"No answer: {reason}"
        case Withheld():
            return "This task is labelled without suggestions."


def _spelled(config: LabelConfig, labels: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    shown = {(question.name, label.value): label.text for question in config.questions for label in question.labels}
    return [f"{name}: {', '.join(shown[name, value] for value in values) or 'none'}" for name, values in labels]


def _choices(config: LabelConfig, name: str, values: Sequence[str]) -> Region:
    to_name = next(question.to_name for question in config.questions if question.name == name)
    return _region(name, to_name, "choices", {"choices": list(values)})


def _text(field: TextField, text: str) -> Region:
    return _region(field.name, field.to_name, "textarea", {"text": [text]})


def _region(from_name: str, to_name: str, kind: str, value: dict[str, Any]) -> Region:
    return {"id": uuid4().hex[:10], "from_name": from_name, "to_name": to_name, "type": kind, "value": value}
