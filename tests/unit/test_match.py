"""A written label is one of the config's or none, never the nearest."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from prelabel.core.match import match_label
from prelabel.core.schema import fold
from prelabel.core.types import Choices, Label

REFUND = Label("refund_request", "Refund request", aliases=("money back", "返金"))
DELIVERY = Label("Late delivery", "Late delivery", aliases=("refund request",))
CALL = Label("ガイド", "ガイド")
QUESTION = Choices("intent", "text", (REFUND, DELIVERY, CALL))


def question(*names: str) -> Choices:
    return Choices("intent", "text", tuple(Label(name, name) for name in names))


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("1", REFUND),
        (" 3\n", CALL),
        ("refund_request", REFUND),
        ("Refund request", REFUND),
        ("REFUND REQUEST", REFUND),
        ("refund-request.", REFUND),
        ("Ｒｅｆｕｎｄ　ｒｅｑｕｅｓｔ", REFUND),  # noqa: RUF001 - fullwidth on purpose
        ('"Late delivery"', DELIVERY),
        ("Money Back", REFUND),
        ("返金", REFUND),
        ("カ\u3099イト\u3099", CALL),
        ("ｶﾞｲﾄﾞ", CALL),
    ],
)
def test_a_label_is_known_by_its_id_name_or_alias_however_it_is_spelled(written: str, label: Label) -> None:
    assert match_label(written, QUESTION) == label


@pytest.mark.parametrize(
    "written",
    ["", "0", "4", "01", "Refund", "Refund requests", "Refnd request", "Late", "refund request, late delivery"],
)
def test_what_is_only_near_a_label_is_none(written: str) -> None:
    assert match_label(written, QUESTION) is None


def test_a_name_that_two_labels_share_when_folded_names_neither() -> None:
    languages = question("C", "C#", "C++")

    assert [match_label(written, languages) for written in ("C", "C#", "C++", "c++", "c")] == [
        *languages.labels,
        languages.labels[2],
        None,
    ]


def test_a_name_that_two_labels_share_exactly_names_neither() -> None:
    twins = Choices("intent", "text", (Label("a", "Refund"), Label("b", "Refund"), Label("c", "c", aliases=("x",))))

    assert [match_label(written, twins) for written in ("Refund", "a", "b", "x")] == [None, *twins.labels]


def test_an_alias_that_two_labels_declare_names_neither() -> None:
    twins = Choices("intent", "text", (Label("a", "a", aliases=("x",)), Label("b", "b", aliases=("X",))))

    assert match_label("x", twins) is None


def test_a_digit_means_the_label_of_that_name_not_the_label_of_that_place() -> None:
    stars = question("5", "4", "3", "2", "1")

    assert [match_label(written, stars) for written in ("5", "L1", "1", "L5")] == [
        stars.labels[0],
        stars.labels[0],
        stars.labels[4],
        stars.labels[4],
    ]


def test_folding_keeps_letters_digits_marks_and_symbols() -> None:
    assert fold("  Straße № 5 – «ＡＢＣ» (a_b)! 👍 は゛ ") == "strasseno5abcab👍ば"  # noqa: RUF001 - on purpose


@given(st.text())
def test_whatever_is_written_is_a_label_of_the_config_or_none(written: str) -> None:
    found = match_label(written, QUESTION)

    assert found is None or found in QUESTION.labels


@given(st.lists(st.text().map(str.strip).filter(bool), min_size=1, max_size=6, unique=True))
def test_every_label_is_found_by_its_own_name(names: list[str]) -> None:
    own = question(*names)

    assert [match_label(name, own) for name in names] == list(own.labels)


@given(st.lists(st.text(max_size=4), min_size=1, max_size=6, unique=True), st.text(max_size=4))
def test_a_label_is_never_taken_for_one_that_reads_differently(names: list[str], written: str) -> None:
    assume(not unicodedata.normalize("NFKC", written).strip().isdecimal())
    found = match_label(written, question(*names))

    assert found is None or fold(found.text) == fold(written)
