"""Several answers to one: what most of them say, and how many say so."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.majority import majority
from prelabel.core.parse import Answer
from prelabel.core.signals import AGREEMENT, LOGPROB, STATED, rounded
from prelabel.core.types import Abstained, Labeled
from tests.unit.answers import said

NONE = Abstained("the LLM says that no label fits")
UNREAD = Abstained("the LLM's reply is empty", "Hm.")


def intent(label: str, confidence: float = 0.9, comment: str = "", **signals: float) -> Labeled:
    return said({"intent": (label,)}, confidence, comment, **signals)


def agreeing(label: str, share: float, score: float = 0.9) -> Labeled:
    return intent(label, score, agreement=share)


A, B, C = (intent(label) for label in "abc")


@pytest.mark.parametrize(
    ("answers", "one"),
    [
        ([A, A, A], agreeing("a", 1.0)),
        ([B, A, B, C, B], agreeing("b", 0.6)),
        ([A, B, C], agreeing("a", 1 / 3)),
        ([A, NONE, A, NONE], agreeing("a", 0.5)),
        ([NONE, A, B, NONE, B], agreeing("b", 0.4)),
        ([NONE, A, NONE], NONE),
        ([UNREAD, NONE, A, NONE], NONE),
        ([UNREAD, A, UNREAD], UNREAD),
        ([NONE], NONE),
    ],
)
def test_the_labels_given_most_often_win(answers: Sequence[Answer], one: Answer) -> None:
    assert majority(answers, len(answers)) == one


@pytest.mark.parametrize(("confidences", "label"), [((0.4, 0.5, 0.4, 0.5), "b"), ((0.5, 0.5, 0.5, 0.5), "a")])
def test_of_those_given_equally_often_the_more_confident_win_then_the_first(
    confidences: Sequence[float], label: str
) -> None:
    one = majority([intent(name, confidence) for name, confidence in zip("abab", confidences, strict=True)], 4)

    assert one == agreeing(label, 0.5, 0.5)


def test_other_signals_are_means_of_those_who_say_so_and_have_them() -> None:
    answers = [
        intent("a", 0.9, logprob=0.5),
        intent("a", 0.8),
        intent("b", 0.3, logprob=0.01),
        intent("a", 0.7, logprob=0.7),
    ]

    one = majority(answers, 4)

    assert isinstance(one, Labeled)
    assert one.score == pytest.approx(0.8)
    assert one.grounds["intent"].signals == {
        AGREEMENT: pytest.approx(0.75, abs=0.002),
        STATED: pytest.approx(0.8, abs=0.002),
        LOGPROB: pytest.approx(0.6, abs=0.002),
    }
    assert one.grounds["intent"].signals == rounded(one.grounds["intent"].signals)


def test_each_control_is_voted_on_by_itself() -> None:
    answers = [
        said({"intent": ("a",), "tone": ("calm",)}, 0.9, "First."),
        said({"intent": ("b",), "tone": ("calm",)}, 0.9, "Second."),
        said({"intent": ("b",), "tone": ("angry",), "topics": ("x",)}, 0.6, "Third."),
    ]

    one = majority(answers, 3)

    assert isinstance(one, Labeled)
    assert (one.labels, one.comment) == ({"intent": ("b",), "tone": ("calm",)}, "Second.")
    assert one.score == pytest.approx(0.75)
    shares = {control: grounds.signals[AGREEMENT] for control, grounds in one.grounds.items()}
    assert shares == pytest.approx({"intent": 2 / 3, "tone": 2 / 3}, abs=0.002)


def test_sets_agree_only_where_they_are_the_same() -> None:
    answers = [said({"topics": labels}, 0.9) for labels in [("a",), ("a", "b"), (), (), ("a", "b"), ("a", "b")]]

    assert majority(answers, 6) == said({"topics": ("a", "b")}, 0.9, agreement=0.5)


def test_controls_that_most_answers_leave_out_leave_nothing() -> None:
    answers = [said({control: ("a",)}, 0.9) for control in ("one", "two", "three")]

    assert majority(answers, 3) == NONE


@pytest.mark.parametrize(("came", "asked", "has_agreement"), [(1, 1, True), (1, 2, False), (2, 4, False), (2, 3, True)])
def test_a_few_of_many_answers_tell_nothing_of_agreement(came: int, asked: int, has_agreement: bool) -> None:
    one = majority([A] * came, asked)

    assert one == (agreeing("a", 1.0) if has_agreement else A)


ANSWERS = st.lists(
    st.just(NONE)
    | st.builds(
        said,
        st.dictionaries(st.sampled_from(["intent", "tone"]), st.sampled_from([("a",), ("b",), ()]), min_size=1),
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=7,
)


@given(ANSWERS, st.integers(0, 5))
def test_whatever_is_answered_the_labels_are_those_given_most_often(answers: list[Answer], missing: int) -> None:
    one = majority(answers, len(answers) + missing)

    said_of = {
        control: [
            answer.labels[control] for answer in answers if isinstance(answer, Labeled) and control in answer.labels
        ]
        for control in ("intent", "tone")
    }
    voted_on = {control for control, votes in said_of.items() if 2 * len(votes) >= len(answers)}
    assert isinstance(one, Labeled) == bool(voted_on)
    if isinstance(one, Labeled):
        assert 0 <= one.score <= 1
        assert set(one.labels) == set(one.grounds) == voted_on
        for control, labels in one.labels.items():
            votes = said_of[control]
            share = votes.count(labels) / len(answers)
            assert votes.count(labels) == max(map(votes.count, votes))
            assert one.grounds[control].signals.get(AGREEMENT, share) == pytest.approx(share, abs=0.003)
