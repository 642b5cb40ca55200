"""How good each method is on the evidence, as people and programs are told."""

from dataclasses import replace

import pytest

from prelabel.quality.calibration import Quality
from prelabel.quality.calibrator import cross_fitted
from prelabel.quality.heard import Heard
from prelabel.quality.intervals import Tally, clopper_pearson
from prelabel.quality.report import MethodFigures, QualityReport, measure_quality
from tests.unit.hearing import SINGLE, as_evidence, case, evidence, question, rule, said, voting

CASES = evidence(200)


def test_each_method_is_measured_by_calibrators_that_had_not_seen_the_task() -> None:
    seen = as_evidence(CASES, "llm")
    right = [item.right for item in seen]

    report = measure_quality([SINGLE], CASES)

    [figures] = [each for each in report.figures if each.method == "llm"]
    quality = Quality.measure(cross_fitted(seen), right)
    assert figures == MethodFigures("q", "llm", "", 200, Tally(sum(right), 200), quality)


def test_of_auto_the_share_of_each_stage_is_told() -> None:
    report = measure_quality([SINGLE], CASES)

    whole, *stages = [each for each in report.figures if each.method == "auto"]
    assert [each.stage for each in stages] == ["weak_model", "llm"]
    assert whole.share == 1.0
    assert sum(each.share for each in stages) == pytest.approx(1.0)
    assert sum(each.tally.right for each in stages) == whole.tally.right


def test_methods_that_decide_nothing_are_left_out_and_abstentions_are_a_persons() -> None:
    cases = [case(number, Heard(llm=said("a", stated=0.9) if number < 3 else said()), "a") for number in range(4)]

    report = measure_quality([SINGLE, question("p")], cases)

    assert {(each.control, each.method, each.stage): each.share for each in report.figures} == {
        ("q", "llm", ""): 0.75,
        ("q", "ensemble", ""): 0.75,
        ("q", "auto", ""): 0.75,
        ("q", "auto", "llm"): 0.75,
    }
    assert report.evidence == {"q": 4, "p": 0}


def test_it_reads_as_a_table() -> None:
    quality = Quality(300, 0.9, 0.0214, 0.0151, 0.8765, 0.5)
    figures = (
        MethodFigures("긴급", "rules", "", 300, Tally(1, 2), None),
        MethodFigures("긴급", "auto", "", 300, Tally(270, 300), quality),
        MethodFigures("긴급", "auto", "llm", 300, Tally(150, 150), replace(quality, auroc=None)),
    )

    report = QualityReport({"긴급": 300, "topic": 0}, figures, 0.93)

    assert str(report).splitlines()[:7] == [
        "tasks labelled blind: 300 of 긴급, 0 of topic; those who label blind agree on 93.0%",
        "",
        "긴급   decides  share   right   95% sure     error  floor  AUROC  at 95%",
        "rules  2        0.7%    50.0%   1.3-98.7%",
        "auto   300      100.0%  90.0%   86.0-93.2%   0.021  0.015  0.876  50.0%",
        "  llm  150      50.0%   100.0%  97.6-100.0%  0.021  0.015         50.0%",
        "",
    ]


def test_it_fits_a_terminal_of_80_columns_and_says_what_its_columns_mean() -> None:
    quality = Quality(9999, 0.9, 0.0214, 0.0151, 0.8765, 1.0)
    figures = MethodFigures("intent", "auto", "escalation", 9999, Tally(9998, 9999), quality)

    lines = str(QualityReport({"intent": 9999}, (figures,))).splitlines()

    explained = {line.split("  ")[0] for line in lines[5:]}
    assert max(map(len, lines)) <= 80
    assert explained == {"decides", "right", "error", "floor", "AUROC", "at 95%"}


def test_without_evidence_there_is_no_table() -> None:
    assert str(QualityReport({}, ())) == "tasks labelled blind: none"
    assert str(QualityReport({"topic": 0}, ())) == "tasks labelled blind: 0 of topic"


def test_programs_are_told_all_of_it() -> None:
    cases = [case(number, Heard(rules=voting(rule("x", "a"))), "a") for number in range(2)]

    report = measure_quality([SINGLE], cases, agreement=0.9)

    low, high = clopper_pearson(2, 2)
    shared = {"control": "q", "stage": "", "evidence": 2, "share": 1.0, "right": 2, "judged": 2, "accuracy": 1.0}
    bounds = {"accuracy_low": low, "accuracy_high": high, "scores": None}
    assert report.as_json() == {
        "evidence": {"q": 2},
        "agreement": 0.9,
        "figures": [
            {**shared, "method": "rules", **bounds},
            {**shared, "method": "ensemble", **bounds},
        ],
    }


def test_what_scores_are_worth_is_told_where_there_is_enough_evidence() -> None:
    [llm] = [each for each in measure_quality([SINGLE], CASES).figures if each.method == "llm"]

    told = llm.as_json()["scores"]
    assert told.keys() == {
        *("evidence", "accuracy", "calibration_error", "noise_floor", "auroc", "coverage_at_95"),
    }
