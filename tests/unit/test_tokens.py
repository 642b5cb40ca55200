"""How long a text is, and how one that is too long is cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.tokens import cut_middle, estimate_tokens

LINES = st.text(max_size=80) | st.integers(1, 400).map(lambda length: "word " * length)
TEXTS = st.text() | st.lists(LINES, max_size=40).map("\n".join) | st.text(min_size=1).map(lambda text: text * 500)
ROOM = st.integers(min_value=40, max_value=400)


MARK = re.compile(r"\n\[\.\.\. \d+ characters left out \.\.\.\]\n")


def unbroken(text: str) -> str:
    """``text`` without its line breaks, which need not stay the same."""
    return "".join(text.splitlines())


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("返金してください", 8), ("é", 1), ("ééé", 2), ("ab é 返", 3)],
)
def test_estimates_by_script(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


@given(st.text(), st.text())
def test_a_longer_text_never_costs_less(text: str, more: str) -> None:
    assert estimate_tokens(text + more) >= estimate_tokens(text)


def test_a_text_that_fits_stays_as_it_is() -> None:
    text = "line\n" * 4

    assert cut_middle(text, 5) is text


def test_a_dialogue_keeps_its_first_turns_and_its_last() -> None:
    turns = [f"Customer: this is turn {number}" for number in range(100)]

    kept = cut_middle("\n".join(turns), 100).splitlines()

    left_out = len("\n".join(turns[6:95]))
    assert kept == [*turns[:6], f"[... {left_out} characters left out ...]", *turns[95:]]


def test_a_text_without_lines_keeps_its_beginning_and_its_end() -> None:
    text = "".join(f"{number:06}" for number in range(10_000))

    head, mark, tail = cut_middle(text, 100).splitlines()

    assert mark == f"[... {len(text) - len(head) - len(tail)} characters left out ...]"
    assert text.startswith(head)
    assert text.endswith(tail)
    assert min(len(head), len(tail)) > 100


def test_lines_too_long_to_keep_whole_are_cut_inside() -> None:
    text = "\n".join(["a" * 4000, "b", "c", "d" * 4000])

    head, _, tail = cut_middle(text, 100).splitlines()

    assert (set(head), set(tail)) == ({"a"}, {"d"})


def test_japanese_is_cut_by_what_it_costs() -> None:
    kept = cut_middle("返金" * 100_000, 1000)

    assert 900 <= estimate_tokens(kept) <= 1000


def test_one_long_line_among_short_ones_is_not_lost_as_a_whole() -> None:
    """A letter: salutation, one paragraph that says it all, closing. Most of the room is the paragraph's."""
    text = "\n".join(["Subject: Help", "Dear team,", "My card was charged twice. " * 2000, "Regards,", "Ann"])

    kept = cut_middle(text, 1000)

    assert "My card was charged twice." in kept
    assert estimate_tokens(kept) > 500


def test_200_000_characters_are_cut_at_once() -> None:
    text = "\n".join("Customer: where is my order?" for _ in range(7000))

    kept = cut_middle(text, 8000)

    assert len(text) > 200_000
    assert 7000 <= estimate_tokens(kept) <= 8000


@given(TEXTS, ROOM)
def test_a_cut_text_never_costs_more_than_it_may(text: str, room: int) -> None:
    assert estimate_tokens(cut_middle(text, room)) <= room


@given(TEXTS, ROOM)
def test_a_cut_text_begins_and_ends_as_the_whole(text: str, room: int) -> None:
    shown = MARK.split(cut_middle(text, room))

    assert unbroken(text).startswith(unbroken(shown[0]))
    assert unbroken(text).endswith(unbroken(shown[-1]))
