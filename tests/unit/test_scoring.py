"""What is frozen in a generation: scores by it, of tickets with several controls too, and its JSON."""

import json
from typing import Any

import pytest

from prelabel.core.signals import Grounds
from prelabel.quality.calibration import Calibration, Score
from prelabel.quality.calibrator import Calibrator, Term, UnknownCalibration
from prelabel.quality.fusion import Ensemble
from prelabel.quality.intervals import Tally
from prelabel.quality.rule_record import RuleRecord
from prelabel.quality.scoring import Learned, Scoring, together

CALIBRATED = Learned(Calibration({"llm": Calibrator(40, 0.0, {"stated": Term(1.0, 0.0)})}))
SCORING = Scoring(40, {"intent": CALIBRATED, "urgency": CALIBRATED})
EVERYTHING = Scoring(
    500,
    {
        "intent": Learned(
            CALIBRATED.calibration,
            Ensemble({"llm": Calibrator(500, 0.1, {})}, {"llm": 0.7}),
            RuleRecord.of({"0123456789ab": Tally(36, 36), "ba9876543210": Tally(1, 2)}),
            {"weak_model": Tally(221, 225), "llm": Tally(181, 275)},
        )
    },
    0.93,
)


def stated(value: float, stage: str = "llm") -> Grounds:
    return Grounds(stage, {"stated": value})


def test_a_label_is_scored_by_its_controls_calibrators() -> None:
    score = SCORING.score("intent", stated(0.9))

    assert score.value == pytest.approx(0.9)
    assert score.is_calibrated
    assert SCORING.score("topic", stated(0.9)) == Score(0.9, is_calibrated=False)
    assert SCORING.score("intent", stated(0.9, "escalation")) == Score(0.9, is_calibrated=False)


def test_a_ticket_is_right_where_all_its_controls_are() -> None:
    grounds = {"intent": stated(0.9), "urgency": stated(0.8)}

    both, one = SCORING.rescored({"intent", "urgency"}, grounds), SCORING.rescored(["intent"], grounds)

    assert both is not None
    assert both.value == pytest.approx(0.72)
    assert both.is_calibrated
    assert one == SCORING.score("intent", grounds["intent"])


def test_where_a_control_is_not_calibrated_the_lowest_score_is_the_tickets() -> None:
    grounds = {"intent": stated(0.9), "urgency": stated(0.95, "escalation"), "topic": stated(0.8)}

    assert SCORING.rescored(grounds, grounds) == Score(0.8, is_calibrated=False)
    assert together([]) == Score(0.0, is_calibrated=False)


def test_without_the_grounds_of_all_controls_there_is_no_score() -> None:
    assert SCORING.rescored(["intent", "urgency"], {"intent": stated(0.9)}) is None


def test_a_frozen_scoring_thaws_to_the_same() -> None:
    assert Scoring.from_json(EVERYTHING.to_json()) == EVERYTHING
    assert Scoring.from_json(Scoring().to_json()) == Scoring()
    assert EVERYTHING.of("intent").rules.proven == {"0123456789ab"}
    assert EVERYTHING.of("gone") == Learned()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"evidence": -1},
        {"evidence": 1.0},
        {"evidence": True},
        {"agreement": 1.1},
        {"agreement": "most"},
        {"agreement": float("nan")},
        {"controls": []},
        {"controls": {"intent": []}},
        {"controls": {"intent": {}}},
        {"mood": 1},
    ],
)
def test_what_it_does_not_know_it_refuses(change: dict[str, Any]) -> None:
    told = {**json.loads(EVERYTHING.to_json()), **change}

    with pytest.raises(UnknownCalibration):
        Scoring.from_json(json.dumps(told))


@pytest.mark.parametrize(
    "change",
    [
        {"calibration": []},
        {"calibration": {"oracle": {}}},
        {"ensemble": None},
        {"rules": []},
        {"rules": {"0123456789ab": [2, 1]}},
        {"rules": {"0123456789ab": [1]}},
        {"rules": {"0123456789ab": 1}},
        {"rules": {"0123456789ab": [1, 2.0]}},
        {"proven": "0123456789ab"},
        {"proven": ["unheard of"]},
        {"proven": [["0123456789ab"]]},
        {"stages": {"oracle": [1, 2]}},
        {"mood": 1},
    ],
)
def test_what_it_does_not_know_of_a_control_it_refuses(change: dict[str, Any]) -> None:
    told = json.loads(EVERYTHING.to_json())
    told["controls"]["intent"] |= change

    with pytest.raises(UnknownCalibration):
        Scoring.from_json(json.dumps(told))


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"version": 1}', "[" * 100_000])
def test_a_text_that_is_no_scoring_is_refused(text: str) -> None:
    with pytest.raises(UnknownCalibration):
        Scoring.from_json(text)
