"""What evidence shows of rules, and which of them it proves."""

from collections.abc import Mapping, Sequence

import pytest

from prelabel.core.rules import Rule
from prelabel.quality.intervals import Tally
from prelabel.quality.rule_record import RuleRecord
from tests.unit.hearing import MULTIPLE, SINGLE, rule, voting

SURE, POOR, OTHER = rule("sure", "a"), rule("poor", "a"), rule("other", "b")


def record(**tallies: Tally) -> RuleRecord:
    """Of rules by their names."""
    rules = {made.name: made for made in (SURE, POOR, OTHER)}
    return RuleRecord.of({rules[name].fingerprint: tally for name, tally in tallies.items()})


def counted(found: RuleRecord, rules: Sequence[Rule]) -> Mapping[str, Tally]:
    return {each.name: found.tallies[each.fingerprint] for each in rules if each.fingerprint in found.tallies}


def test_a_rule_counts_wherever_it_fires_even_if_another_overrules_it() -> None:
    overruling = rule("first", "b", priority=1)
    votes = [(voting(SURE), ("a",)), (voting(SURE, overruling), ("b",)), (None, ("a",)), (voting(SURE, OTHER), ("a",))]

    found = RuleRecord.count(votes)

    assert counted(found, [SURE, overruling, OTHER, POOR]) == {
        "sure": Tally(2, 3),
        "first": Tally(1, 1),
        "other": Tally(0, 1),
    }


def test_of_a_multiple_choice_a_rule_is_right_where_all_its_labels_were_chosen() -> None:
    both = rule("both", "a", "b")

    found = RuleRecord.count([(voting(both, asked=MULTIPLE), chosen) for chosen in [("a", "b", "c"), ("a",)]])

    assert counted(found, [both]) == {"both": Tally(1, 2)}


def test_of_a_multiple_choice_a_rule_is_proven_whose_labels_are_all_that_is_chosen() -> None:
    votes = [(voting(SURE, asked=MULTIPLE), ("a",))] * 36 + [(voting(OTHER, asked=MULTIPLE), ("a", "b"))] * 36

    found = RuleRecord.count(votes)

    assert counted(found, [SURE, OTHER]) == {"sure": Tally(36, 36), "other": Tally(36, 36)}
    assert found.proven == {SURE.fingerprint}


@pytest.mark.parametrize(
    ("right", "judged", "is_proven"), [(35, 35, False), (36, 36, True), (57, 58, True), (0, 0, False)]
)
def test_a_rule_is_proven_that_is_right_nine_times_in_ten_for_all_one_knows(
    right: int, judged: int, is_proven: bool
) -> None:
    found = record(sure=Tally(right, judged))

    assert found.proven == ({SURE.fingerprint} if is_proven else set())


def test_only_the_proven_ones_have_a_vote_of_their_own() -> None:
    found = record(sure=Tally(60, 60), poor=Tally(30, 60), other=Tally(30, 60))

    in_conflict, without = voting(SURE, OTHER), voting(POOR, OTHER)

    assert in_conflict.is_conflict
    vote = found.proven_vote(SINGLE, in_conflict)
    assert vote is not None
    assert (vote.labels, [each.name for each in vote.rules]) == (("a",), ["sure"])
    assert found.proven_vote(SINGLE, without) is None
    assert found.proven_vote(SINGLE, None) is None


def test_the_best_rule_for_a_label_tells_its_precision() -> None:
    found = record(sure=Tally(8, 8), poor=Tally(1, 2))

    assert found.precision(voting(SURE, POOR)) == pytest.approx(9 / 10)
    assert found.precision(voting(POOR)) == pytest.approx(2 / 4)
    assert found.precision(voting(SURE, OTHER)) is None
    assert found.precision(voting(OTHER)) is None


def test_of_several_labels_the_least_certain_tells_the_precision() -> None:
    found = record(sure=Tally(8, 8), other=Tally(1, 2))

    assert found.precision(voting(SURE, OTHER, asked=MULTIPLE)) == pytest.approx(2 / 4)
    assert found.precision(voting(SURE, rule("new", "c"), asked=MULTIPLE)) is None


def test_a_task_sees_the_record_without_itself() -> None:
    found = record(sure=Tally(36, 36), poor=Tally(1, 1), other=Tally(3, 4))

    seen = found.without(voting(SURE, POOR, rule("new", "a")), ("a",))

    assert counted(seen, [SURE, POOR, OTHER]) == {"sure": Tally(35, 35), "poor": Tally(0, 0)}
    assert seen.proven == {SURE.fingerprint}
    assert seen.precision(voting(POOR)) is None
    assert found.without(None, ("a",)).tallies == {}
