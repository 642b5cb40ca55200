"""Rules vote for labels: alone, of one mind, in conflict, by priority; those of other projects are left out."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.conditions import Words
from prelabel.core.rules import Rule, Rules, Vote, fit_rules
from prelabel.core.types import Choices, Label, Ticket

INTENT = Choices(
    "intent", "text", (Label("refund", "Refund", aliases=("money",)), Label("ship", "Shipping"), Label("1", "1"))
)
TOPICS = Choices("topics", "text", (Label("a", "A"), Label("b", "B"), Label("c", "C")), multiple=True)


def rule(word: str, *labels: str, control: str = "intent", priority: int = 0) -> Rule:
    """One that is named for the word at which it fires."""
    return Rule(word, labels, Words((word,)), control, priority, line=7)


def fitted(*rules: Rule) -> Rules:
    found, problems = fit_rules(rules, [INTENT, TOPICS])
    assert problems == ()
    return found


def said(rules: Rules, text: str) -> dict[str, tuple[tuple[str, ...], list[str], list[str]]]:
    """Of each control the labels, the names of the rules that count, and of those overruled."""
    return {
        control: (vote.labels, [each.name for each in vote.rules], [each.name for each in vote.overruled])
        for control, vote in rules.vote(Ticket(1, text)).items()
    }


def test_without_a_rule_that_fires_nothing_is_said() -> None:
    assert fitted().vote(Ticket(1, "x")) == {}
    assert fitted(rule("x", "refund")).vote(Ticket(1, "y")) == {}


def test_a_rule_that_fires_gives_its_label() -> None:
    rules = fitted(rule("x", "refund"))
    [only] = rules

    assert rules.vote(Ticket(1, "x")) == {"intent": Vote(("refund",), (only,))}
    assert (only.control, only.labels, only.name) == ("intent", ("refund",), "x")


def test_rules_of_one_mind_count_together() -> None:
    rules = fitted(rule("x", "refund"), rule("y", "Refund"), rule("z", "ship"))

    assert said(rules, "y x") == {"intent": (("refund",), ["x", "y"], [])}


def test_rules_in_conflict_say_nothing_and_are_named() -> None:
    rules = fitted(rule("x", "refund"), rule("y", "ship"), rule("z", "a", control="topics"))

    assert said(rules, "x y z") == {"intent": ((), ["x", "y"], []), "topics": (("a",), ["z"], [])}
    assert rules.vote(Ticket(1, "x y"))["intent"].is_conflict


def test_a_higher_priority_settles_a_conflict() -> None:
    rules = fitted(rule("x", "refund"), rule("y", "ship", priority=1), rule("z", "refund", priority=-1))

    assert said(rules, "x y z") == {"intent": (("ship",), ["y"], ["x", "z"])}
    assert said(rules, "x z") == {"intent": (("refund",), ["x"], ["z"])}
    assert said(rules, "z") == {"intent": (("refund",), ["z"], [])}


def test_a_conflict_among_the_highest_is_one() -> None:
    rules = fitted(rule("x", "refund", priority=1), rule("y", "ship", priority=1), rule("z", "ship"))

    assert said(rules, "x y z") == {"intent": ((), ["x", "y"], ["z"])}


def test_for_a_multiple_choice_labels_are_put_together_in_the_configs_order() -> None:
    rules = fitted(
        rule("x", "c", control="topics"),
        rule("y", "B", "A", control="topics"),
        rule("z", "b", control="topics", priority=1),
    )

    assert said(rules, "x y") == {"topics": (("a", "b", "c"), ["x", "y"], [])}
    assert said(rules, "x y z") == {"topics": (("b",), ["z"], ["x", "y"])}


def test_of_some_rules_the_others_are_as_if_they_were_not_there() -> None:
    rules = fitted(rule("x", "refund"), rule("y", "ship", priority=1))

    assert said(rules.only({"x"}), "x y") == {"intent": (("refund",), ["x"], [])}
    assert list(rules.only(())) == []


def test_of_some_rules_of_a_vote_the_same_comes_as_if_they_had_been_alone() -> None:
    rules = fitted(rule("x", "refund"), rule("y", "ship", priority=1), rule("z", "ship"), rule("w", "ship", priority=1))
    vote = rules.vote(Ticket(1, "w x y z"))["intent"]

    for names in ({"x"}, {"x", "z"}, {"x", "y"}, {"z", "y", "w"}):
        alone = rules.only(names).vote(Ticket(1, "w x y z"))["intent"]
        assert vote.only(INTENT, lambda each, names=names: each.name in names) == alone  # type: ignore[misc]
    assert vote.only(INTENT, lambda _: False) is None


@given(st.permutations(range(4)), st.sets(st.sampled_from("wxyz")))
def test_the_order_of_rules_changes_no_label(order: list[int], fire: set[str]) -> None:
    rules = [rule("w", "refund"), rule("x", "ship"), rule("y", "a", control="topics"), rule("z", "b", control="topics")]
    text = " ".join(sorted(fire))

    one, other = (fitted(*each).vote(Ticket(1, text)) for each in (rules, [rules[at] for at in order]))

    assert {name: vote.labels for name, vote in one.items()} == {name: vote.labels for name, vote in other.items()}


@pytest.mark.parametrize("written", ["refund", "Refund", " REFUND", "money"])
def test_a_label_may_be_written_as_it_is_shown_kept_or_called(written: str) -> None:
    [only] = fitted(rule("x", written))

    assert only.labels == ("refund",)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (rule("x", "a", control="intnet"), "line 7: 'x' is for the control 'intnet'; there are intent, topics"),
        (rule("x", "refnd"), "line 7: 'x' has the label 'refnd', which 'intent' does not offer"),
        (rule("x", "2"), "line 7: 'x' has the label '2', which 'intent' does not offer"),
        (rule("x", "L1"), "line 7: 'x' has the label 'L1', which 'intent' does not offer"),
        (rule("x", "refund", "ship"), "line 7: 'x' has 2 labels, and 'intent' takes one"),
        (rule("x", "a", "d", control="topics"), "line 7: 'x' has the label 'd', which 'topics' does not offer"),
        (rule("x", "a", control=""), "line 7: 'x' must say for which control it is: intent, topics"),
    ],
)
def test_a_rule_that_does_not_fit_is_told_of_and_stops_no_other(wrong: Rule, reason: str) -> None:
    for order in permutations((wrong, rule("y", "ship"))):
        rules, problems = fit_rules(order, [INTENT, TOPICS])

        assert problems == (reason,)
        assert [each.name for each in rules] == ["y"]


def test_a_label_config_with_one_control_needs_no_naming_of_it() -> None:
    rules, problems = fit_rules([rule("x", "b", control="")], [TOPICS])

    assert (problems, said(rules, "x")) == ((), {"topics": (("b",), ["x"], [])})


def test_the_same_label_twice_is_one() -> None:
    [only] = fitted(rule("x", "refund", "Refund"))

    assert only.labels == ("refund",)


def test_a_label_that_the_config_has_twice_is_one() -> None:
    twice = Choices("topics", "text", (Label("a", "A"), Label("b", "B"), Label("a", "A")), multiple=True)

    rules, problems = fit_rules([rule("x", "a", control="topics")], [twice])

    assert (problems, said(rules, "x")) == ((), {"topics": (("a",), ["x"], [])})


def test_a_fingerprint_is_of_what_a_rule_says() -> None:
    base = rule("x", "refund")
    same = Rule("another name", ("refund",), Words(("x",)), "intent", line=99)
    others = [rule("y", "refund"), rule("x", "ship"), rule("x", "refund", priority=1), rule("x", "refund", control="")]

    assert same.fingerprint == base.fingerprint
    assert len({each.fingerprint for each in (base, *others)}) == 5
