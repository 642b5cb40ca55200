"""From what is heard of tickets to outcomes: who is asked, in which order, and whose word is the last."""

from collections.abc import Mapping, Sequence
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prelabel.config import Method
from prelabel.core.parse import NO_LABEL_FITS
from prelabel.core.signals import STATED, Grounds, Signals, rounded
from prelabel.core.types import Abstained, Choices, Failed, Labeled, Outcome, Usage
from prelabel.judging import NO_RULE, NOTHING_HEARD, Asked, Judge, last_stage
from prelabel.quality.calibration import Calibration
from prelabel.quality.calibrator import Calibrator, Term
from prelabel.quality.heard import Heard, Precedent
from prelabel.quality.scoring import Learned, Scoring
from tests.unit.hearing import LABELS, question, rule, voting, weak

P, Q = question("p"), question("q")
BOTH: tuple[Asked, Asked] = ("llm", "escalation")
NOTHING = {"q": Heard()}
REVIEWED = {"q": Heard(reviewed=Precedent(("c",), 2))}
SURE = {"q": Heard(weak=weak(a=0.97, b=0.03))}
PLAIN = Term(1.0, 0.0)
LEARNED = Learned(
    Calibration({"weak_model": Calibrator(100, 0.0, {"weak": PLAIN}), "llm": Calibrator(100, 0.0, {"stated": PLAIN})})
)
AFTER = Scoring(100, {"p": LEARNED, "q": LEARNED})


def judging(
    *tickets: Mapping[str, Heard],
    method: Method = "auto",
    asked: Sequence[Asked] = BOTH,
    questions: Sequence[Choices] = (Q,),
    scoring: Scoring | None = None,
    lack: Failed | None = None,
    is_patient: bool = False,
) -> tuple[Judge, Usage]:
    usage = Usage()
    judge = Judge(
        questions,
        scoring or Scoring(),
        method,
        tickets,
        asked=asked,
        lack=lack,
        is_patient=is_patient,
        usage=usage,
    )
    return judge, usage


def answer(stated: float, comment: str = "", **labels: str) -> Labeled:
    """What an LLM says, as it is read from its reply."""
    return by({STATED: stated}, comment, **labels)


def by(signals: Signals, comment: str = "", **labels: str) -> Labeled:
    chosen = {name: (label,) for name, label in labels.items()}
    return Labeled(chosen, 0.123, comment, dict.fromkeys(chosen, Grounds("llm", rounded(signals))))


def decided(outcome: Outcome) -> tuple[Mapping[str, tuple[str, ...]], dict[str, str]]:
    """Labels, and the stage of each control."""
    assert isinstance(outcome, Labeled), outcome
    return outcome.labels, {name: grounds.stage for name, grounds in outcome.grounds.items()}


def test_what_is_known_settles_a_ticket_at_once_and_the_others_wait_for_the_llm() -> None:
    judge, usage = judging(NOTHING, REVIEWED, SURE, scoring=AFTER)

    settled = judge.begin()

    assert {place: decided(outcome) for place, outcome in settled.items()} == {
        1: ({"q": ("c",)}, {"q": "reviewed"}),
        2: ({"q": ("a",)}, {"q": "weak_model"}),
    }
    assert (judge.waiting("llm"), judge.waiting("escalation")) == ([0], [])
    assert judge.outcomes == settled
    assert usage == Usage(stages={"reviewed": 1, "weak_model": 1})


@pytest.mark.parametrize(
    ("method", "asked", "waits"),
    [
        ("llm", ["llm"], True),
        ("auto", ["llm"], True),
        ("ensemble", ["llm"], True),
        ("auto", [], False),
        ("rules", BOTH, False),
        ("weak_model", BOTH, False),
    ],
)
def test_the_llm_is_asked_by_methods_that_hear_it_where_there_is_one(
    method: Method, asked: Sequence[Asked], waits: bool
) -> None:
    judge, _ = judging(NOTHING, method=method, asked=asked)

    judge.begin()

    assert judge.waiting("llm") == ([0] if waits else [])
    assert judge.waiting("escalation") == []


def test_the_llms_word_settles_where_it_is_sure_and_else_the_stronger_model_is_asked() -> None:
    judge, usage = judging(NOTHING, NOTHING)
    judge.begin()

    settled = judge.hear("llm", {0: answer(0.9, q="a"), 1: answer(0.6, q="b")})
    waiting = judge.waiting("escalation")
    last = judge.hear("escalation", {1: answer(0.3, q="c")})

    assert (list(settled), decided(settled[0])) == ([0], ({"q": ("a",)}, {"q": "llm"}))
    assert (waiting, judge.waiting("llm"), judge.waiting("escalation")) == ([1], [], [])
    assert (list(last), decided(last[1])) == ([1], ({"q": ("c",)}, {"q": "escalation"}))
    assert judge.outcomes == settled | last
    assert usage.stages == {"llm": 1, "escalation": 1}


def test_an_answer_gets_the_score_that_its_signals_come_to_and_not_its_own() -> None:
    judge, _ = judging(NOTHING)
    judge.begin()

    [outcome] = judge.hear("llm", {0: by({"stated": 0.95, "logprob": 0.85}, q="a")}).values()

    assert isinstance(outcome, Labeled)
    assert outcome.score == pytest.approx(0.85, abs=0.002)
    assert outcome.grounds == {"q": Grounds("llm", rounded({"stated": 0.95, "logprob": 0.85}))}


def test_a_failed_answer_of_the_llm_fails_the_ticket() -> None:
    judge, usage = judging(NOTHING, SURE)
    judge.begin()
    failure = Failed("down", passing=True)

    settled = judge.hear("llm", {0: failure, 1: failure})

    assert settled == judge.outcomes == {0: failure, 1: failure}
    assert (judge.waiting("llm"), judge.waiting("escalation"), usage.stages) == ([], [], {})


@pytest.mark.parametrize(
    "failure", [Failed("no such model", fatal=True), Failed("down", passing=True), Failed("late", is_late=True)]
)
def test_a_failed_answer_of_the_stronger_model_leaves_the_first(failure: Failed) -> None:
    judge, usage = judging(NOTHING, NOTHING)
    judge.begin()
    judge.hear("llm", {0: answer(0.6, "Perhaps.", q="b"), 1: Abstained("unclear")})

    settled = judge.hear("escalation", {0: failure, 1: failure})

    assert decided(settled[0]) == ({"q": ("b",)}, {"q": "llm"})
    assert (settled[0].comment if isinstance(settled[0], Labeled) else "") == "Perhaps."
    assert settled[1] == Abstained("unclear")
    assert (judge.waiting("escalation"), usage.stages) == ([], {"llm": 1})


def test_where_there_is_time_what_the_stronger_model_was_not_asked_is_asked_another_time() -> None:
    judge, usage = judging(NOTHING, NOTHING, is_patient=True)
    judge.begin()
    judge.hear("llm", {0: answer(0.6, q="b"), 1: answer(0.6, q="b")})
    late, down = Failed("not reached", is_late=True), Failed("down", passing=True)

    settled = judge.hear("escalation", {0: late, 1: down})

    assert settled[0] == late
    assert decided(settled[1]) == ({"q": ("b",)}, {"q": "llm"})
    assert usage.stages == {"llm": 1}


def test_where_no_stronger_model_is_there_the_llms_word_is_the_last() -> None:
    judge, _ = judging(NOTHING, NOTHING, asked=["llm"])
    judge.begin()

    settled = judge.hear("llm", {0: answer(0.1, q="b"), 1: Abstained("unclear", "Hm.")})

    assert decided(settled[0]) == ({"q": ("b",)}, {"q": "llm"})
    assert settled[1] == Abstained("unclear", "Hm.")


def test_the_stronger_models_abstention_is_the_last_word() -> None:
    judge, usage = judging(NOTHING)
    judge.begin()
    judge.hear("llm", {0: answer(0.6, "Perhaps.", q="b")})

    settled = judge.hear("escalation", {0: Abstained("no label fits")})

    assert settled == {0: Abstained("no label fits", "Perhaps.")}
    assert usage.stages == {}


def test_the_newest_comment_is_told() -> None:
    judge, _ = judging(NOTHING, NOTHING)
    judge.begin()
    judge.hear("llm", {0: answer(0.6, "First.", q="b"), 1: answer(0.6, "First.", q="b")})

    settled = judge.hear("escalation", {0: answer(0.9, "Second.", q="b"), 1: answer(0.9, q="b")})

    assert [each.comment for each in settled.values() if isinstance(each, Labeled)] == ["Second.", "First."]


def test_an_llm_is_asked_as_long_as_one_control_is_open_and_what_was_decided_stays() -> None:
    open_p = {"p": Heard(), "q": Heard(reviewed=Precedent(("c",), 3))}
    judge, usage = judging(open_p, questions=(P, Q))

    before = judge.begin()
    first = judge.hear("llm", {0: answer(0.6, p="a", q="b")})
    last = judge.hear("escalation", {0: answer(0.9, p="b", q="a")})

    assert (before, first) == ({}, {})
    assert decided(last[0]) == ({"p": ("b",), "q": ("c",)}, {"p": "escalation", "q": "reviewed"})
    assert usage.stages == {"escalation": 1}


def test_each_control_is_settled_by_whom_it_is_and_the_ticket_by_the_last_of_them() -> None:
    heard = {"p": Heard(weak=weak(a=0.99, b=0.01)), "q": Heard()}
    judge, usage = judging(heard, questions=(P, Q), scoring=AFTER)
    judge.begin()

    [outcome] = judge.hear("llm", {0: answer(0.9, p="b", q="b")}).values()

    assert decided(outcome) == ({"p": ("a",), "q": ("b",)}, {"p": "weak_model", "q": "llm"})
    assert isinstance(outcome, Labeled)
    assert outcome.score == pytest.approx(0.99 * 0.9, abs=0.005)
    assert usage.stages == {"llm": 1}


def test_a_control_that_the_llm_does_not_answer_is_left_out() -> None:
    judge, _ = judging({"p": Heard(), "q": Heard()}, questions=(P, Q), asked=["llm"])
    judge.begin()

    [outcome] = judge.hear("llm", {0: answer(0.9, q="b")}).values()

    assert decided(outcome) == ({"q": ("b",)}, {"q": "llm"})


@pytest.mark.parametrize("method", ["llm", "auto", "ensemble"])
def test_a_refusal_is_no_answer_also_where_no_label_may_be_one(method: Method) -> None:
    optional = question("q", multiple=True)
    judge, usage = judging(NOTHING, method=method, asked=["llm"], questions=[optional])
    judge.begin()

    settled = judge.hear("llm", {0: Abstained("the provider's content filter refuses it")})

    assert settled == {0: Abstained("the provider's content filter refuses it")}
    assert usage.stages == {}


@pytest.mark.parametrize("method", ["llm", "auto", "ensemble"])
@pytest.mark.parametrize("said", [Labeled({"q": ()}, 0.9), Abstained(NO_LABEL_FITS)])
def test_that_no_label_fits_is_an_answer_where_it_may_be(method: Method, said: Outcome) -> None:
    judge, _ = judging(NOTHING, method=method, asked=["llm"], questions=[question("q", multiple=True)])
    judge.begin()

    [outcome] = judge.hear("llm", {0: said}).values()

    assert decided(outcome)[0] == {"q": ()}


def test_a_control_of_which_nothing_is_said_is_not_answered_with_no_label() -> None:
    judge, _ = judging({"p": Heard(), "q": Heard()}, asked=["llm"], questions=[P, question("q", multiple=True)])
    judge.begin()

    [outcome] = judge.hear("llm", {0: answer(0.9, p="a")}).values()

    assert decided(outcome) == ({"p": ("a",)}, {"p": "llm"})


def test_without_an_llm_the_decision_so_far_stands() -> None:
    judge, usage = judging({"q": Heard(weak=weak(a=0.5, b=0.3, c=0.2))}, asked=[])

    [outcome] = judge.begin().values()

    assert decided(outcome) == ({"q": ("a",)}, {"q": "weak_model"})
    assert (judge.waiting("llm"), usage.stages) == ([], {"weak_model": 1})


def test_without_an_llm_what_nothing_is_heard_of_fails_where_the_weak_model_is_lacking() -> None:
    lack = Failed("too few reviewed tickets", fatal=True)
    judge, usage = judging(NOTHING, REVIEWED, asked=[], lack=lack)

    settled = judge.begin()

    assert settled[0] is lack
    assert decided(settled[1]) == ({"q": ("c",)}, {"q": "reviewed"})
    assert usage.stages == {"reviewed": 1}


@pytest.mark.parametrize(("method", "reason"), [("rules", NO_RULE), ("weak_model", NOTHING_HEARD)])
def test_a_ticket_that_nobody_gives_a_label_is_an_abstention_with_a_reason(method: Method, reason: str) -> None:
    judge, usage = judging(NOTHING, method=method, asked=[])

    assert judge.begin() == {0: Abstained(reason)}
    assert usage.stages == {}


def test_rules_in_conflict_are_an_abstention() -> None:
    judge, _ = judging({"q": Heard(rules=voting(rule("x", "a"), rule("y", "b")))}, method="rules", asked=[])

    assert judge.begin() == {0: Abstained(NO_RULE)}


def test_an_answer_that_is_heard_twice_counts_once() -> None:
    judge, usage = judging(NOTHING, NOTHING)
    judge.begin()
    first = judge.hear("llm", {0: answer(0.9, q="a")})

    again = judge.hear("llm", {0: answer(0.9, q="b"), 1: answer(0.6, q="b")})
    twice = judge.hear("llm", {1: answer(0.99, q="c")})

    assert (again, twice) == ({}, {})
    assert judge.outcomes == first
    assert (judge.waiting("escalation"), usage.stages) == ([1], {"llm": 1})


def test_an_answer_that_comes_too_late_changes_nothing() -> None:
    judge, usage = judging(NOTHING, SURE, scoring=AFTER)
    settled = judge.begin()
    late = judge.hear("llm", {0: Failed("late", is_late=True)})

    after = judge.hear("llm", {0: answer(0.9, q="a"), 1: answer(0.9, q="b")})
    unasked = judge.hear("escalation", {0: answer(0.9, q="a"), 1: answer(0.9, q="b")})

    assert (after, unasked) == ({}, {})
    assert judge.outcomes == settled | late
    assert usage.stages == {"weak_model": 1}


def test_tickets_do_not_share_what_was_heard() -> None:
    judge, _ = judging(NOTHING, NOTHING)
    judge.begin()

    judge.hear("llm", {0: answer(0.9, q="a")})

    assert {"q": Heard()} == NOTHING
    assert judge.waiting("llm") == [1]


def test_the_last_stage_of_the_cascade_counts() -> None:
    assert last_stage({"p": Grounds("llm"), "q": Grounds("reviewed")}) == "llm"
    assert last_stage({"p": Grounds("weak_model"), "q": Grounds("rules")}) == "weak_model"
    assert last_stage({"p": Grounds("llm"), "q": Grounds("escalation")}) == "escalation"


SAID = st.one_of(
    st.builds(lambda stated, label: answer(stated, q=label), st.floats(0, 1), st.sampled_from([*LABELS, "gone"])),
    st.builds(Abstained, st.just("no label fits")),
    st.builds(Failed, st.just("down"), is_late=st.booleans()),
)
HEARD = st.sampled_from(
    [NOTHING, REVIEWED, SURE, {"q": Heard(rules=voting(rule("x", "a")))}, {"q": Heard(weak=weak(a=0.5, b=0.5))}]
)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(HEARD, SAID, SAID), max_size=6),
    st.sampled_from(get_args(Method)),
    st.sampled_from([(), ("llm",), BOTH]),
    st.sampled_from([Scoring(), AFTER]),
    st.booleans(),
    st.booleans(),
)
def test_whoever_says_what_every_ticket_is_settled_once(
    tickets: list[tuple[Mapping[str, Heard], Outcome, Outcome]],
    method: Method,
    asked: Sequence[Asked],
    scoring: Scoring,
    in_turn: bool,
    is_patient: bool,
) -> None:
    heard = [each for each, _, _ in tickets]
    judge, usage = judging(*heard, method=method, asked=asked, scoring=scoring, is_patient=is_patient)

    told = [judge.begin()]
    for who in BOTH:
        answers = {place: by_llm if who == "llm" else by_other for place, (_, by_llm, by_other) in enumerate(tickets)}
        wanted = {place: answers[place] for place in judge.waiting(who)}
        parts = [{place: each} for place, each in wanted.items()] if in_turn else [wanted]
        told += [judge.hear(who, part) for part in [*parts, answers]]

    places = [place for settled in told for place in settled]
    labeled = [outcome for outcome in judge.outcomes.values() if isinstance(outcome, Labeled)]
    assert sorted(places) == list(range(len(tickets))) == sorted(judge.outcomes)
    assert {place: outcome for settled in told for place, outcome in settled.items()} == judge.outcomes
    assert sum(usage.stages.values()) == len(labeled)
    assert all(0 <= outcome.score <= 1 and outcome.grounds.keys() == outcome.labels.keys() for outcome in labeled)
