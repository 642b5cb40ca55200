"""A file of rules is read whole or refused with the line that is wrong."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prelabel.core.conditions import Compared, Condition, Containing, Equal, Every, Matching, Not, Some, Words
from prelabel.core.rules import Rule
from prelabel.core.types import Choices, Label, Ticket
from prelabel.errors import SettingsError
from prelabel.guidance.expressions import read_expression
from prelabel.guidance.rule_file import MOST_TESTED, read_rules
from prelabel.guidance.rules import RuleSource
from tests.unit.test_guidance import settings as settings_of


def read(folder: Path, content: str | bytes) -> tuple[Rule, ...]:
    file = folder / "rules.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_rules(file)


def condition(folder: Path, content: str) -> Condition:
    """Of a rule that has it beside its label."""
    [rule] = read(folder, f"x:\n  label: a\n{content}")
    return rule.condition


def matching(*expressions: str, field: str | None = None) -> Matching:
    return Matching(tuple(map(read_expression, expressions)), field)


def test_a_file_holds_rules_by_their_names(tmp_path: Path) -> None:
    content = r"""
# What our customers write
wants   money back:
  control: intent
  label: refund
  keywords: [Refund, money  back, 환불]
no: {label: [no, 1], priority: -2, matches: '\binv-\d+'}
"""

    assert read(tmp_path, content) == (
        Rule("wants money back", ("refund",), Words(("refund", "money back", "환불")), "intent", 0, 3),
        Rule("no", ("no", "1"), matching(r"\binv-\d+"), "", -2, 7),
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("  keywords: Refund", Words(("refund",))),
        ("  keywords: [a, A, b]", Words(("a", "b"))),
        ('  keywords: "money\\tback"', Words(("money back",))),
        ("  matches: [a.c, 'b']", matching("a.c", "b")),
        ("  fields: {Channel: E-Mail}", Equal(("e-mail",), "Channel")),
        ("  fields: {channel: [1, yes]}", Equal(("1", "yes"), "channel")),
        ("  fields: {channel: ''}", Equal(("",), "channel")),
        ("  fields: {channel: {equals: A}}", Equal(("a",), "channel")),
        ("  fields: {channel: {in: [A, b]}}", Equal(("a", "b"), "channel")),
        ("  fields: {channel: {contains: A}}", Containing(("a",), "channel")),
        ("  fields: {channel: {keywords: A}}", Words(("a",), "channel")),
        ("  fields: {channel: {matches: A}}", matching("A", field="channel")),
        ("  fields: {n: {greater: 1e3}}", Compared("greater", 1000, "n")),
        (
            "  fields: {n: {at_least: 1, at_most: 2.5}}",
            Every((Compared("at_least", 1, "n"), Compared("at_most", 2.5, "n"))),
        ),
        ("  fields: {m: a, n: b}", Every((Equal(("a",), "m"), Equal(("b",), "n")))),
        ("  keywords: a\n  matches: b", Every((Words(("a",)), matching("b")))),
        ("  any: [{keywords: a}, {matches: b}]", Some((Words(("a",)), matching("b")))),
        ("  any: {keywords: a}", Some((Words(("a",)),))),
        ("  all:\n    - keywords: a\n    - keywords: b", Every((Words(("a",)), Words(("b",))))),
        ("  not: {keywords: a, matches: b}", Not(Every((Words(("a",)), matching("b"))))),
        ("  not: [{keywords: a}, {matches: b}]", Not(Some((Words(("a",)), matching("b"))))),
        ("  any: [{all: [{not: {keywords: a}}]}]", Some((Every((Not(Words(("a",))),)),))),
        ("  keywords: &words [a, b]\n  not: {fields: {f: {keywords: *words}}}",
         Every((Words(("a", "b")), Not(Words(("a", "b"), "f"))))),
    ],
)  # fmt: skip
def test_conditions_are_read(tmp_path: Path, content: str, expected: Condition) -> None:
    assert condition(tmp_path, content) == expected


@pytest.mark.parametrize("content", ["", "# none yet\n"])
def test_a_file_without_rules_has_none(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content) == ()


IN_A_RULE = [
    ("  keyword: a", "line 3: 'x' has 'keyword'; it may have control, label, priority, keywords, matches, fields, "),
    ("  keywords: a\n  keywords: b", "line 4: 'keywords' stands in line 3 already"),
    ("  keywords:", "line 3: keywords of 'x' is empty"),
    ("  keywords: []", "line 3: keywords of 'x' is empty"),
    ("  keywords:\n  - a\n  - ' '", "line 5: one of keywords of 'x' is empty"),
    ("  keywords: {a: b}", "line 3: keywords of 'x' must be a text"),
    ("  keywords: [[a]]", "line 3: one of keywords of 'x' must be a text"),
    ('  matches: "\\brefund"', r"line 3: matches of 'x' has the character '\x08'; a backslash stays one in single"),
    ('  matches: "\\d"', "line 3: it is not YAML: found unknown escape character 'd'"),
    ("  matches: '(a'", "line 3: matches of 'x': '(a' is no expression that can be used: unclosed group"),
    (
        "  matches:\n  - a\n  - a(?!b)",
        "line 3: matches of 'x': 'a(?!b)' is no expression that can be used: look-around,",
    ),
    ("  fields: channel", "line 3: fields of 'x' must be lines of the form NAME: VALUE"),
    ("  fields: {}", "line 3: fields of 'x' must be lines of the form NAME: VALUE"),
    ("  fields: {'': a}", "line 3: a name in fields of 'x' is empty"),
    ("  fields: {channel: }", "line 3: 'channel' in fields of 'x' is empty"),
    ("  fields:\n    n: {above: 1}", "line 4: 'n' in fields of 'x' has 'above'; it may have equals, in, contains, "),
    ("  fields: {n: {greater: ten}}", "line 3: greater of 'n' in fields of 'x' is 'ten'; it must be a number"),
    ("  fields: {n: {less: .nan}}", "line 3: less of 'n' in fields of 'x' is '.nan'; it must be a number"),
    ("  fields: {n: {less: nan}}", "line 3: less of 'n' in fields of 'x' is 'nan'; it must be a number"),
    ("  any: []", "line 3: any of 'x' has no conditions"),
    ("  any: [a]", "line 3: any of 'x' must be lines of the form NAME: VALUE"),
    ("  not: {label: a}", "line 3: not of 'x' has 'label'; it may have keywords, matches, fields, any, all, not"),
    ("  keywords: a\n  priority: high", "line 4: the priority of 'x' is 'high'; it must be a whole number"),
    ("  keywords: a\n  priority: 1.5", "line 4: the priority of 'x' is '1.5'; it must be a whole number"),
    ("  keywords: a\n  control:", "line 4: the control of 'x' is empty"),
    (f"  {'not: {' * 22}keywords: a{'}' * 22}", "line 3: not of not of"),
]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("x:\n  - a: [", "line 2: it is not YAML: "),
        ("\n- a", "line 2: expected lines of the form NAME: and below each its label and conditions"),
        ("x: refund", "line 1: 'x' must have a label and conditions below it"),
        ("x:", "line 1: 'x' must have a label and conditions below it"),
        ("? [a]\n: b", "line 1: a name in the file must be a text"),
        ("x: {label: a, keywords: b}\nx: {label: a, keywords: b}", "line 2: 'x' stands in line 1 already"),
        ("x: {keywords: a}", "line 1: 'x' has no label"),
        ("x: {label: , keywords: a}", "line 1: the label of 'x' is empty"),
        ("x: {label: [], keywords: a}", "line 1: the label of 'x' is empty"),
        ("x: {label: a}", "line 1: 'x' has no condition: one of keywords, matches, fields, any, all, not"),
        ("x: {}", "line 1: 'x' must be lines of the form NAME: VALUE"),
        ("a:\n  b: für".encode("cp1252"), "line 2: it is not UTF-8"),
        *((f"x:\n  label: a\n{content}", reason) for content, reason in IN_A_RULE),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(tmp_path: Path, content: str | bytes, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, content)

    assert str(caught.value).startswith(f"RULES_FILE='{tmp_path / 'rules.yaml'}', {reason}")


def test_a_file_that_refers_to_itself_has_an_end(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"line 3: not of .* has conditions more than 20 deep$"):
        read(tmp_path, "x:\n  label: a\n  not: &self {not: *self}")
    doubled = "".join(f"  - &b{at + 1} {{any: [*b{at}, *b{at}]}}\n" for at in range(19))
    with pytest.raises(SettingsError, match=f"with it there are more than {MOST_TESTED:,} keywords and conditions$"):
        read(tmp_path, f"x:\n  label: a\n  any:\n  - &b0 {{keywords: [a, b, c]}}\n{doubled}")


@given(content=st.binary() | st.text('ab:,"\n{}[]-#&*|>!%@ ').map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_a_file_it_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    try:
        rules = read(tmp_path, b"x: {label: a, keywords: b}\n" + content)
    except SettingsError:
        return

    assert all(rule.name and rule.labels for rule in rules)


INTENT = Choices("intent", "text", (Label("refund", "Refund"), Label("ship", "Shipping")))
OTHER = Choices("topic", "text", (Label("refund", "Refund"),))


def said(source: RuleSource, folder: Path, *questions: Choices) -> list[dict[str, tuple[str, ...]]]:
    tickets = [Ticket(1, "refund"), Ticket(2, "parcel"), Ticket(3, "hello", {"kind": "parcel"})]
    votes = source.votes(settings_of(folder), questions, tickets)
    return [{control: vote.labels for control, vote in vote.items()} for vote in votes]


def test_without_a_file_nothing_is_voted(tmp_path: Path) -> None:
    assert said(RuleSource(), tmp_path, INTENT) == [{}, {}, {}]


def test_a_project_is_given_votes_of_the_rules_that_are_for_it(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(
        "money: {label: refund, keywords: refund}\n"
        "parcel: {label: ship, control: intent, any: [{keywords: parcel}, {fields: {kind: parcel}}]}\n"
    )
    source, own = RuleSource(), settings_of(tmp_path)

    assert said(source, tmp_path, INTENT) == [{"intent": ("refund",)}, {"intent": ("ship",)}, {"intent": ("ship",)}]
    assert said(source, tmp_path, OTHER) == [{"topic": ("refund",)}, {}, {}]
    assert source.left_out(own, [INTENT]) == ()
    assert source.left_out(own, [OTHER]) == ("line 2: 'parcel' is for the control 'intent'; there are topic",)
    assert [rule.name for rule in source.rules(own, [OTHER])] == ["money"]


def test_an_edit_counts_at_once_and_a_broken_one_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, source = tmp_path / "rules.yaml", RuleSource()
    file.write_text("a: {label: refund, keywords: refund}\n")
    first = said(source, tmp_path, INTENT)
    file.write_text("a: {label: ship, keywords: [refund, parcel]}\n")
    second = said(source, tmp_path, INTENT)
    file.write_text("a: {label: ship}\n")
    third = said(source, tmp_path, INTENT)

    assert first == [{"intent": ("refund",)}, {}, {}]
    assert second == third == [{"intent": ("ship",)}, {"intent": ("ship",)}, {}]
    assert "line 1: 'a' has no condition" in caplog.messages[0]
    assert caplog.messages[0].endswith("; what was read of it before serves on")


def test_a_file_that_was_never_right_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("a: {label: ship}\n")
    source, own = RuleSource(), settings_of(tmp_path)

    with pytest.raises(SettingsError, match="line 1: 'a' has no condition"):
        source.check(own)
    with pytest.raises(SettingsError, match="line 1: 'a' has no condition"):
        source.votes(own, [INTENT], [Ticket(1, "x")])
