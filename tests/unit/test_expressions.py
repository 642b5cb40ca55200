"""Regular expressions: as people write them, in any script, and never slow."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.guidance.expressions import MOST_PLACES, Expression, read_expression


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("refund", "A Refund!"),
        (r"\bпыль\b", "где ПЫЛЬ?"),
        (r"^\d{2}$", "٣٤"),
        (r"\w+\s退款", "请 退款"),
        ("caf\u00e9", "CAF\u00c9"),
        ("cafe\u0301", "caf\u00e9"),
        (r"(?-i)ACME", "an ACME lamp"),
        (r"a.c", "xabcx"),
        (r"(?s)a.c", "a\nc"),
        (r"(?m)^c$", "a\nc"),
        (r"\x{263A}", "\u263a"),
        (r"\p{Hangul}", "환불"),
        (r"inv-[0-9]{4}(?:/[0-9]{1,2})?", "see INV-2041/7"),
    ],
)
def test_an_expression_matches_anywhere_and_in_any_script(expression: str, text: str) -> None:
    assert read_expression(expression).occurs_in(text)


@pytest.mark.parametrize(
    ("expression", "text"),
    [(r"\bпыль\b", "пылями"), (r"(?-i)ACME", "acme"), ("a.c", "a\nc"), ("^c$", "a\nc"), (r"\d", "x")],
)
def test_what_does_not_match_does_not(expression: str, text: str) -> None:
    assert not read_expression(expression).occurs_in(text)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "it is empty"),
        ("(a", "unclosed group"),
        ("a(?=b)", "look-around, including look-ahead and look-behind, is not supported"),
        (r"(a)\1", "backreferences are not supported"),
        ("[z-a]", "invalid character class range, the start must be <= the end"),
        (r"\w{1000}", "Compiled regex exceeds size limit of 10485760 bytes."),
        ("a{1001}", "written out it is 1,001 characters long, at most 1,000 are searched for"),
        ("a{1,1001}", "written out it is 1,001 characters long, at most 1,000 are searched for"),
        ("(?:a{20}){60}", "written out it is 1,200 characters long, at most 1,000 are searched for"),
        ("a" * 1001, "written out it is 1,001 characters long, at most 1,000 are searched for"),
    ],
)
def test_an_expression_that_cannot_be_searched_for_is_refused(expression: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read_expression(expression)

    assert str(caught.value) == reason


@pytest.mark.parametrize(
    "expression",
    [
        "a{1000}",
        "(ab){499}",
        r"[abc\]]{999}",
        "[]a]{999}",
        r"\p{Greek}{2}",
        r"\x{1234}",
        "a{0}",
        r"\{5000\}",
        "(?P<word>a+?)*b{990}",
    ],
)
def test_what_looks_long_and_is_not_is_accepted(expression: str) -> None:
    assert read_expression(expression).text == expression


HARD = """
from prelabel.guidance.expressions import read_expression
for expression, text in (
    (r"(a+)+$", "a" * 32_000 + "b"),
    (r"(x+x+)+y", "x" * 32_000),
    (r"(\\w+\\s?)*:$", "word " * 6_400),
    (r"(.*)(.*)(.*)(.*)=", "=" * 31_999 + "x"),
    (r"[ab]*a[ab]{900}c", "ab" * 16_000),
):
    print(read_expression(expression).occurs_in(text))
"""


def test_no_text_makes_an_expression_run_away() -> None:
    """In a process of its own, which is ended if it hangs: backtracking would take longer than the sun lasts."""
    ran = subprocess.run([sys.executable, "-c", HARD], capture_output=True, text=True, timeout=60, check=True)

    assert ran.stdout.split() == ["False", "False", "False", "True", "False"]


@given(st.text("ab(){}[]|*+?.,\\^$0123456789é退", max_size=40))
def test_whatever_is_written_it_is_read_or_refused(expression: str) -> None:
    try:
        found = read_expression(expression)
    except ValueError:
        return

    assert isinstance(found, Expression)
    assert found.occurs_in("ab 退") in {True, False}
    assert len(expression) <= MOST_PLACES
