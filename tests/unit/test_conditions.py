"""A condition holds or does not hold of a ticket, whatever the ticket has in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.conditions import (
    COMPARISONS,
    LONGEST,
    Compared,
    Condition,
    Containing,
    Equal,
    Every,
    Matching,
    Not,
    Reading,
    Some,
    Words,
)
from prelabel.core.terms import Term, Terms, occurs, plain
from prelabel.core.types import Ticket
from prelabel.guidance.expressions import read_expression


def holds(condition: Condition, text: str = "", **fields: str) -> bool:
    return condition.holds(Reading(Ticket(None, text, fields)))


def words(*names: str) -> Words:
    return Words(tuple(map(plain, names)))


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("refund", "I want a REFUND!"),
        ("money back", "my money\n  back, please"),
        ("Straße", "in der STRASSE"),
        ("résumé", "my re\u0301sume\u0301"),
        ("посылка", "Где моя Посылка?"),
        ("환불", "환불해 주세요"),
        ("退款", "我要退款"),
        ("c++", "is it C++?"),
        ("don't", "I don\u2019t know"),
    ],
)
def test_words_occur_in_any_language_and_case(word: str, text: str) -> None:
    assert holds(words("other", word), text)


@pytest.mark.parametrize(
    ("word", "text"),
    [("refund", "refundable"), ("fund", "refund"), ("посылка", "посылками"), ("money back", "money-back"), ("x", "")],
)
def test_a_part_of_a_word_is_not_the_word(word: str, text: str) -> None:
    assert not holds(words(word), text)


@given(st.text("ab- 退", min_size=1).filter(plain), st.text("ab- 退é"))
def test_words_are_those_that_a_glossary_would_find(word: str, text: str) -> None:
    assert occurs(plain(word), plain(text)) == bool(Terms([Term(word, "x")]).find(text))


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        (Equal(("email", "chat"), "a"), " E-Mail", False),
        (Equal(("email", "chat"), "a"), " EMAIL", True),
        (Equal(("",), "a"), "", True),
        (Containing(("invo",), "a"), "Re: INVOICE", True),
        (Containing(("invo",), "a"), "voice", False),
        (Words(("invoice",), "a"), "Re: INVOICE", True),
        (Words(("voice",), "a"), "Re: INVOICE", False),
        (Matching((read_expression("^re:"),), "a"), "Re: x", True),
        (Matching((read_expression("^re:"),), "a"), "x re:", False),
        (Compared("greater", 10, "a"), "10", False),
        (Compared("greater", 10, "a"), "10.5", True),
        (Compared("at_least", 10, "a"), " 10 ", True),
        (Compared("less", 10, "a"), "-1e3", True),
        (Compared("at_most", 10, "a"), "11", False),
    ],
)
def test_a_field_is_compared(condition: Condition, value: str, expected: bool) -> None:
    assert holds(condition, a=value) is expected


ON_A_FIELD: list[Condition] = [
    Equal(("",), "a"),
    Containing(("a",), "a"),
    Words(("a",), "a"),
    Matching((read_expression("a*"),), "a"),
    *(Compared(name, 0, "a") for name in COMPARISONS),
]


@pytest.mark.parametrize("condition", ON_A_FIELD)
def test_nothing_holds_of_a_field_that_is_not_there(condition: Condition) -> None:
    assert not holds(condition, "a", b="a")
    assert holds(Not(condition), "a", b="a")


@pytest.mark.parametrize("value", ["", "ten", "nan", "inf", "-Infinity", "1,000", "1 2"])
@pytest.mark.parametrize("comparison", COMPARISONS)
def test_what_is_no_number_compares_to_none(comparison: str, value: str) -> None:
    assert not holds(Compared(comparison, 0, "a"), a=value)


def test_conditions_are_joined() -> None:
    a, b = words("a"), words("b")

    assert [holds(Every((a, b)), text) for text in ("a", "b", "a b", "")] == [False, False, True, False]
    assert [holds(Some((a, b)), text) for text in ("a", "b", "a b", "")] == [True, True, True, False]
    assert [holds(Not(Some((a, b))), text) for text in ("a", "b", "a b", "")] == [False, False, False, True]


def test_of_a_long_text_the_beginning_and_the_end_are_looked_at() -> None:
    text = f"begin {'x ' * LONGEST} middle {'x ' * LONGEST} finish"

    assert [holds(words(word), text) for word in ("begin", "middle", "finish")] == [True, False, True]
    assert [holds(Matching((read_expression(word),)), text) for word in ("^begin", "middle", "finish$")] == [
        True,
        False,
        True,
    ]


def test_expressions_look_at_composed_characters() -> None:
    assert holds(Matching((read_expression("caf[\u00e9\u00e8]$"),)), "cafe\u0301")


def test_half_a_character_hides_nothing_else() -> None:
    assert holds(Matching((read_expression("refund"),)), "\ud83d refund")
    assert holds(words("refund"), "\ud83d refund")


@given(st.text(st.characters()), st.text(st.characters()))
def test_any_ticket_can_be_looked_at(text: str, value: str) -> None:
    for condition in (*ON_A_FIELD, words("a"), Matching((read_expression(r"\bx\b"),))):
        assert holds(Not(condition), text, a=value) is not holds(condition, text, a=value)
