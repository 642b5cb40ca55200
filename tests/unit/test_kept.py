"""What is kept in an answer's place says the same, or nothing."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.kept import packed, unpacked
from prelabel.core.parse import NO_LABEL_FITS, Answer
from prelabel.core.types import Abstained, Choices, Label, Labeled

LABELS = (Label("refund", "Refund", "wants money back"), Label("2", "Two"), Label("Größe", "Größe"), Label("x", "X"))
SINGLE = Choices("intent", "text", LABELS)
MULTIPLE = Choices("topics", "text", LABELS, multiple=True)
REQUIRED = Choices("areas", "text", LABELS[:2], multiple=True, required=True)
QUESTIONS = st.lists(st.sampled_from([SINGLE, MULTIPLE, REQUIRED]), min_size=1, unique_by=lambda each: each.name)
SCALARS = st.none() | st.booleans() | st.integers(-1, 4) | st.floats() | st.sampled_from(["1", "L1", "L9", "x", ""])
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner))
TEXTS = st.text() | st.text('[]{}",L12.') | JSON.map(json.dumps)


@st.composite
def answered(draw: st.DrawFn) -> tuple[list[Choices], Answer]:
    """Questions, and an answer to them as ``parse`` gives it."""
    questions = draw(QUESTIONS)
    labels = {}
    for question in questions:
        values = [label.value for label in question.labels]
        most = len(values) if question.multiple else 1
        least = 0 if question.multiple and not question.required else 1
        chosen = draw(st.none() | st.sets(st.sampled_from(values), min_size=least, max_size=most))
        if chosen is not None:
            labels[question.name] = tuple(value for value in values if value in chosen)
    score = draw(st.integers(0, 10_000)) / 10_000
    return questions, Labeled(labels, score) if labels else Abstained(NO_LABEL_FITS)


@given(answered())
def test_an_answer_comes_back_as_it_was(pair: tuple[list[Choices], Answer]) -> None:
    questions, answer = pair

    assert unpacked(packed(answer, questions) or "", questions) == answer


@given(st.floats(0, 1))
def test_a_confidence_is_kept_to_four_digits(score: float) -> None:
    text = packed(Labeled({"intent": ("refund",)}, score, "It says so."), [SINGLE]) or ""

    assert unpacked(text, [SINGLE]) == Labeled({"intent": ("refund",)}, round(score, 4))
    assert len(text) <= len('[0.1234,"L1"]')


def test_abstentions_for_other_reasons_are_not_kept() -> None:
    assert packed(Abstained("the LLM refused to answer"), [SINGLE]) is None
    assert packed(Abstained(NO_LABEL_FITS, "Spam."), [SINGLE]) == "[]"


@given(TEXTS, QUESTIONS)
def test_what_is_kept_never_names_a_label_that_is_not_asked_about(text: str, questions: list[Choices]) -> None:
    answer = unpacked(text, questions)

    if isinstance(answer, Labeled):
        offered = {question.name: {label.value for label in question.labels} for question in questions}
        assert all(set(values) <= offered[name] for name, values in answer.labels.items())
        assert 0 <= answer.score <= 1
        assert unpacked(packed(answer, questions) or "", questions) == Labeled(answer.labels, round(answer.score, 4))


@pytest.mark.parametrize(
    "kept",
    [
        *("", "[", "null", "{}", '"L1"', "[0.9]", '[0.9,"L1","L2"]', "[" * 100_000),
        *('[0.9,"L9"]', '[0.9,"refund"]', "[0.9,1]", '[0.9,["L1"]]', '[0.9,""]', "[0.9,null]"),
        *('["L1",0.9]', '[true,"L1"]', '[1.1,"L1"]', '[-0.1,"L1"]', '[NaN,"L1"]', '[null,"L1"]'),
    ],
)
def test_what_is_foreign_or_broken_is_no_answer(kept: str) -> None:
    assert unpacked('[0.9,"L1"]', [SINGLE]) is not None
    assert unpacked(kept, [SINGLE]) is None


@pytest.mark.parametrize("ids", [["L1", "L1"], ["L1", "L9"], "L1", [["L1"]], [1], {}])
def test_a_list_with_anything_but_ids_is_no_answer(ids: Any) -> None:
    assert unpacked(json.dumps([0.9, ids]), [MULTIPLE]) is None


def test_a_required_question_is_not_answered_by_nothing() -> None:
    assert unpacked("[0.9,[]]", [MULTIPLE]) == Labeled({"topics": ()}, 0.9)
    assert unpacked("[0.9,[]]", [REQUIRED]) is None
