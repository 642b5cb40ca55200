"""Answers as they are read from an LLM's replies."""

from collections.abc import Mapping

from prelabel.core.signals import STATED, Grounds, rounded
from prelabel.core.types import Labeled


def said(labels: Mapping[str, tuple[str, ...]], confidence: float, comment: str = "", **signals: float) -> Labeled:
    """Labels with the confidence that was stated.

    :param signals: what else speaks for the labels of every control, by name.
    """
    grounds = Grounds("llm", rounded({STATED: confidence, **signals}))
    return Labeled(labels, confidence, comment, dict.fromkeys(labels, grounds))
