"""What rules are worth, by tickets that people have labelled."""

from prelabel.core.conditions import Words
from prelabel.core.rules import Rule, Rules, fit_rules
from prelabel.core.types import Choices, Label, Ticket
from prelabel.quality.intervals import clopper_pearson
from prelabel.quality.rule_figures import Reviewed, RuleFigures, measure_rules

INTENT = Choices("intent", "text", (Label("refund", "Refund"), Label("ship", "Shipping")))
TOPICS = Choices("topics", "text", (Label("a", "A"), Label("b", "B"), Label("c", "C")), multiple=True)


def rule(word: str, *labels: str, control: str = "intent", priority: int = 0) -> Rule:
    """One that is named for the word at which it fires."""
    return Rule(word, labels, Words((word,)), control, priority)


def fitted(*rules: Rule) -> Rules:
    return fit_rules(rules, [INTENT, TOPICS])[0]


def reviewed(text: str, **labels: tuple[str, ...]) -> Reviewed:
    return Ticket(None, text), labels


RULES = (
    rule("x", "refund"),
    rule("y", "ship"),
    rule("z", "ship", priority=1),
    rule("p", "a", control="topics"),
    rule("q", "a", "b", control="topics"),
)
TICKETS = [
    reviewed("x", intent=("refund",)),
    reviewed("x", intent=("refund",)),
    reviewed("x", intent=("ship",)),
    reviewed("x"),  # nobody has answered
    reviewed("x y", intent=("ship",)),  # in conflict
    reviewed("x z", intent=("ship",)),  # z has the higher priority
    reviewed("p", topics=("a", "c")),
    reviewed("p q", intent=("refund",), topics=("a", "b")),
    reviewed("q", topics=("b",)),
    reviewed("nothing", intent=("refund",), topics=("a",)),
]


def counts(figures: RuleFigures) -> dict[str, int]:
    names = ("fired", "conflicts", "overruled", "judged", "right")
    return {name: value for name in names if (value := getattr(figures, name))}


def test_each_rule_is_counted_by_itself() -> None:
    report = measure_rules(fitted(*RULES), TICKETS)

    assert {figures.name: counts(figures) for figures in report.rules} == {
        "x": {"fired": 6, "conflicts": 1, "overruled": 1, "judged": 5, "right": 2},
        "y": {"fired": 1, "conflicts": 1, "judged": 1, "right": 1},
        "z": {"fired": 1, "judged": 1, "right": 1},
        "p": {"fired": 2, "judged": 2, "right": 2},
        "q": {"fired": 2, "judged": 2, "right": 1},
    }
    assert {figures.tickets for figures in report.rules} == {10}
    assert [figures.fingerprint for figures in report.rules] == [each.fingerprint for each in RULES]


def test_a_rule_that_is_overruled_is_in_no_conflict() -> None:
    rules = fitted(rule("x", "refund"), rule("y", "ship", priority=1), rule("z", "refund", priority=1))

    report = measure_rules(rules, [reviewed("x y z")])

    assert [counts(figures) for figures in report.rules] == [
        {"fired": 1, "overruled": 1},
        {"fired": 1, "conflicts": 1},
        {"fired": 1, "conflicts": 1},
    ]


def test_all_rules_of_a_control_are_counted_together_where_they_agree() -> None:
    report = measure_rules(fitted(*RULES), TICKETS)

    assert {figures.control: counts(figures) for figures in report.controls} == {
        "intent": {"fired": 5, "conflicts": 1, "judged": 4, "right": 3},
        "topics": {"fired": 3, "judged": 3, "right": 1},
    }


def test_coverage_and_precision_are_shares_with_how_sure_they_are() -> None:
    x, y, *_ = measure_rules(fitted(*RULES), TICKETS).rules

    assert (x.coverage, x.precision, x.interval) == (0.6, 0.4, clopper_pearson(2, 5))
    assert (y.coverage, y.precision, y.interval) == (0.1, 1.0, clopper_pearson(1, 1))


def test_without_tickets_nothing_is_known() -> None:
    report = measure_rules(fitted(rule("x", "refund")), [])

    [figures] = report.rules
    assert (figures.coverage, figures.precision, figures.interval) == (0.0, None, (0.0, 1.0))
    assert measure_rules(fitted(), TICKETS).controls == ()


def test_it_reads_as_a_table() -> None:
    report = measure_rules(fitted(rule("환불", "refund"), rule("p", "a", "b", control="topics")), [
        reviewed("환불", intent=("refund",)),
        reviewed("환불", intent=("ship",)),
        reviewed("p"),
        reviewed("q"),
    ])  # fmt: skip

    assert str(report).splitlines() == [
        "rules, on 4 tickets:",
        "rule           label   coverage  conflicts  right   precision  95% sure",
        "환불           refund  50.0%     0          1 of 2  50.0%      1.3-98.7%",
        "all of intent          50.0%     0          1 of 2  50.0%      1.3-98.7%",
        "p              a, b    25.0%     0          0 of 0  unknown",
        "all of topics          25.0%     0          0 of 0  unknown",
    ]


def test_programs_are_told_all_of_it() -> None:
    report = measure_rules(fitted(rule("x", "refund")), TICKETS[:3])

    low, high = clopper_pearson(2, 3)
    counted = {"tickets": 3, "fired": 3, "conflicts": 0, "overruled": 0, "judged": 3, "right": 2}
    shares = {"coverage": 1.0, "precision": 2 / 3, "precision_low": low, "precision_high": high}
    fingerprint = RULES[0].fingerprint
    assert report.as_json() == {
        "tickets": 3,
        "rules": [
            {"control": "intent", "name": "x", "labels": ("refund",), "fingerprint": fingerprint, **counted, **shares}
        ],
        "controls": [{"control": "intent", "name": "", "labels": (), "fingerprint": "", **counted, **shares}],
    }


def test_a_rule_of_many_words_keeps_the_table_narrow() -> None:
    wide = Rule("asks for " + "very " * 20 + "much", ("refund",), Words(("x",)), "intent")

    report = str(measure_rules(fitted(wide), [reviewed("x", intent=("refund",))]))

    assert "asks for very very very very…  refund" in report
    assert max(map(len, report.splitlines())) <= 100
