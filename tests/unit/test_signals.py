"""What speaks for a label, as it is kept and read again."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.kept import packed, unpacked
from prelabel.core.signals import (
    LOGPROB,
    NEIGHBORS,
    REVIEWED,
    SIGNALS,
    STAGES,
    STATED,
    WEAK,
    Grounds,
    best_single,
    read_grounds,
    rounded,
    written,
)
from prelabel.core.types import Choices, Label, Labeled, Prediction
from prelabel.store import predicted

SHARES = st.floats(0, 1, allow_nan=False)
SOME_SIGNALS = st.dictionaries(st.sampled_from(SIGNALS), SHARES)
SOME_GROUNDS = st.builds(Grounds, st.sampled_from(sorted(STAGES)), SOME_SIGNALS.map(rounded))
INTENT = Choices("intent", "text", (Label("refund", "refund"), Label("other", "other")))
URGENCY = Choices("urgency", "text", (Label("now", "now"), Label("later", "later")))


@given(st.lists(st.none() | SOME_GROUNDS, max_size=4))
def test_rounded_signals_come_back_as_they_were(grounds: list[Grounds | None]) -> None:
    assert read_grounds(written(grounds)) == grounds


@given(SOME_SIGNALS)
def test_a_signal_is_kept_within_a_third_of_a_percent_of_its_odds(signals: dict[str, float]) -> None:
    for name, value in rounded(signals).items():
        inside = min(1 - 1e-6, max(1e-6, signals[name]))
        assert math.log(value / (1 - value)) == pytest.approx(math.log(inside / (1 - inside)), abs=0.0035)


def test_even_odds_are_kept_as_such() -> None:
    assert rounded({STATED: 0.5}) == {STATED: 0.5}


@pytest.mark.parametrize("text", ["?", "E", "EA", "EAI", "EAIl", "EAIl?", "EAIlFA", "HAA", "E__AAAA", "AAIlF"])
def test_what_no_grounds_were_written_as_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"grounds|digit|substring"):
        read_grounds(text)


@given(st.one_of(st.just({}), st.fixed_dictionaries({}, optional={"intent": SOME_GROUNDS, "urgency": SOME_GROUNDS})))
def test_an_answer_is_kept_with_what_speaks_for_it(grounds: dict[str, Grounds]) -> None:
    answer = Labeled({"intent": ("refund",), "urgency": ("later",)}, 0.93, grounds=grounds)
    prediction = Prediction(answer.labels, 0.93, "v1", grounds)
    numbers = predicted.new_words([prediction], {})

    assert unpacked(packed(answer, [INTENT, URGENCY]) or "", [INTENT, URGENCY]) == answer
    kept = predicted.packed(prediction, numbers)
    assert predicted.unpacked(kept, {number: word for word, number in numbers.items()}) == prediction


def test_three_controls_with_all_that_an_llm_has_to_its_credit_fit_into_what_redis_keeps_in_one_piece() -> None:
    questions = [Choices(name, "text", (Label("refund", "refund"), Label("other", "other"))) for name in "abc"]
    everything = Grounds("llm", dict.fromkeys((LOGPROB, STATED, WEAK, NEIGHBORS), 0.123))
    labels, grounds = {each.name: ("other",) for each in questions}, {each.name: everything for each in questions}
    prediction = Prediction(labels, 0.1234, "v1", grounds)

    assert len(packed(Labeled(labels, 0.1234, grounds=grounds), questions) or "") <= 64
    assert len(predicted.packed(prediction, {"v1": 11, "a": 12, "b": 13, "c": 14, "other": 99})) <= 64


@pytest.mark.parametrize("told", ['"E?"', '"EAIlFAAA"', '""', "7", "[]"])
def test_an_answer_whose_grounds_cannot_be_read_is_none(told: str) -> None:
    assert unpacked(f'[0.93,"1",{told}]', [INTENT]) is None


def test_the_first_signal_there_is_is_the_one_to_go_by() -> None:
    signals = {NEIGHBORS: 0.2, WEAK: 0.3, STATED: 0.9, LOGPROB: 0.8}

    assert best_single(signals) == 0.8
    assert best_single(signals, (REVIEWED, WEAK)) == 0.3
    assert best_single({}) == 0.0
    assert best_single({LOGPROB: math.nan}, otherwise=0.5) == 0.5
