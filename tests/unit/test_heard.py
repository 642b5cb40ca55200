"""All that is said of a control, and what speaks for any labels of it."""

from collections.abc import Sequence

import pytest

from prelabel.core.signals import Grounds, rounded
from prelabel.core.types import Choices
from prelabel.quality.fusion import ABSTENTION, Vote
from prelabel.quality.heard import (
    Answer,
    Heard,
    Precedent,
    answer,
    ballot,
    fitting_labels,
    neighbors_vote,
    reviewed_vote,
    rules_vote,
    weak_vote,
)
from prelabel.quality.intervals import Tally
from prelabel.quality.neighbors import Neighbor
from prelabel.quality.rule_record import RuleRecord
from prelabel.quality.weak_model import Guess
from tests.unit.hearing import MULTIPLE, SINGLE, question, rule, said, voting, weak

REQUIRED = question(multiple=True, required=True)
RULE, OTHER = rule("x", "a"), rule("y", "b")
RECORD = RuleRecord.of({RULE.fingerprint: Tally(7, 8)})
EVERYTHING = Heard(
    rules=voting(RULE),
    weak=weak(a=0.7, b=0.2, c=0.1),
    near=((("a",), 0.8), (("b",), 0.2)),
    llm=said("b", logprob=0.6),
)


@pytest.mark.parametrize(
    ("asked", "labels", "expected"),
    [
        (SINGLE, ["b"], ("b",)),
        (SINGLE, ["b", "b"], ("b",)),
        (SINGLE, [], None),
        (SINGLE, ["a", "b"], None),
        (SINGLE, ["gone"], None),
        (MULTIPLE, ["c", "a"], ("a", "c")),
        (MULTIPLE, [], ()),
        (MULTIPLE, ["a", "gone"], None),
        (REQUIRED, [], None),
        (REQUIRED, ["c"], ("c",)),
    ],
)
def test_labels_fit_that_are_an_answer_to_the_question(
    asked: Choices, labels: Sequence[str], expected: tuple[str, ...] | None
) -> None:
    assert fitting_labels(asked, labels) == expected


def test_for_labels_speaks_who_said_so_and_what_the_others_say_of_the_same() -> None:
    found = answer(SINGLE, EVERYTHING, RECORD, "llm", said("b", logprob=0.6, stated=0.9))

    # Of the nearest, 0.2 of 1 and half of the one that says nothing; the rules say something else.
    signals = {"logprob": 0.6, "stated": 0.9, "weak": 0.2, "neighbors": 0.7 / 2}
    assert found == Answer(("b",), Grounds("llm", rounded(signals)))


def test_rules_of_the_same_mind_speak_with_their_precision() -> None:
    found = answer(SINGLE, Heard(rules=voting(RULE)), RECORD, "llm", said("a", stated=0.9))

    assert found == Answer(("a",), Grounds("llm", rounded({"stated": 0.9, "rules": 8 / 10})))


def test_rules_of_unknown_precision_or_in_conflict_do_not_speak() -> None:
    unknown, in_conflict = Heard(rules=voting(RULE)), Heard(rules=voting(RULE, OTHER))

    assert answer(SINGLE, unknown, RuleRecord(), "llm", said("a")) == Answer(("a",), Grounds("llm", {}))
    assert answer(SINGLE, in_conflict, RECORD, "llm", said("a")) == Answer(("a",), Grounds("llm", {}))
    assert rules_vote(in_conflict.rules, RECORD) is None


def test_an_answer_that_does_not_fit_is_an_abstention() -> None:
    assert answer(SINGLE, EVERYTHING, RECORD, "llm", said(logprob=0.9)) is None
    assert answer(SINGLE, EVERYTHING, RECORD, "llm", said("gone")) is None


def test_whoever_abstains_has_no_vote_where_no_label_would_be_an_answer() -> None:
    heard = Heard(llm=ABSTENTION)

    assert answer(MULTIPLE, heard, RuleRecord(), "llm", ABSTENTION) is None
    assert ballot(MULTIPLE, heard, RuleRecord()) == {}
    assert ballot(MULTIPLE, Heard(llm=said()), RuleRecord()) == {"llm": said()}


def test_of_a_set_the_weak_model_tells_the_probability_of_exactly_these_labels() -> None:
    heard = Heard(weak=Guess(("a",), 0.5, {"a": 0.9, "b": 0.2, "c": 0.4}))

    found = answer(MULTIPLE, heard, RuleRecord(), "llm", said("c", "a"))

    assert found == Answer(("a", "c"), Grounds("llm", rounded({"weak": 0.9 * 0.8 * 0.4})))


def test_people_are_the_surer_the_more_often_they_said_so() -> None:
    assert reviewed_vote(Heard(reviewed=Precedent(("b",), 1))) == Vote(("b",), {"reviewed": 1.5 / 2})
    assert reviewed_vote(Heard(reviewed=Precedent(("b",), 9))) == Vote(("b",), {"reviewed": 9.5 / 10})


def test_of_whom_nothing_was_heard_there_is_no_vote() -> None:
    silent = Heard()

    assert (reviewed_vote(silent), rules_vote(None, RECORD)) == (None, None)
    assert (weak_vote(SINGLE, silent), neighbors_vote(SINGLE, silent)) == (None, None)
    assert ballot(SINGLE, silent, RECORD) == {}


def test_the_nearest_vote_for_the_label_that_most_of_them_have() -> None:
    near: Sequence[Neighbor] = ((("b",), 0.5), (("a",), 0.4), ((), 0.3))

    vote = neighbors_vote(SINGLE, Heard(near=near))

    assert vote is not None
    assert vote.labels == ("b",)
    assert vote.signals == {"neighbors": vote.probabilities["b"]}


@pytest.mark.parametrize(
    ("near", "expected"),
    [
        ([(("a", "b"), 0.9), (("a",), 0.9)], ("a",)),
        ([(("a", "b"), 0.9), (("b", "a"), 0.9)], ("a", "b")),
        ([(("a",), 0.2), (("b",), 0.1)], ("a",)),
        ([(("a",), 0.2), ((), 0.9)], ()),
    ],
)
def test_of_a_multiple_choice_they_vote_for_none_of_the_labels_only_if_one_of_them_did(
    near: Sequence[Neighbor], expected: tuple[str, ...]
) -> None:
    vote = neighbors_vote(MULTIPLE, Heard(near=near))

    assert vote is not None
    assert vote.labels == expected


def test_everybody_who_has_an_answer_votes() -> None:
    votes = ballot(SINGLE, EVERYTHING, RECORD)

    assert {method: vote.labels for method, vote in votes.items()} == {
        "rules": ("a",),
        "weak_model": ("a",),
        "neighbors": ("a",),
        "llm": ("b",),
    }
    assert votes["rules"].signals == rounded({"rules": 0.8})
    assert votes["weak_model"] == Vote(("a",), rounded({"weak": 0.7}), {"a": 0.7, "b": 0.2, "c": 0.1})


def test_what_is_no_answer_or_no_number_has_no_vote() -> None:
    odd = Vote(("a",), {"logprob": float("nan")}, {"a": float("inf"), "b": float("nan"), "c": 2.0})

    votes = ballot(SINGLE, Heard(weak=weak(gone=0.9), llm=odd), RECORD)

    assert votes == {"llm": Vote(("a",), {}, {"c": 1.0})}
