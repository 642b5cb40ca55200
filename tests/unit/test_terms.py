"""Which terms occur in a text: whole words in any language, the longest first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.terms import Term, Terms


def found(text: str, *names: str, aliases: tuple[str, ...] = ()) -> list[str]:
    return [term.name for term in Terms(Term(name, "means this", aliases) for name in names).find(text)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("I sent an RMA.", "RMA"),
        ("i sent an rma", "RMA"),
        ("(RMA)", "rma"),
        ("ＲＭＡ番号", "RMA"),
        ("credit\n  note please", "credit note"),
        ("the pre\u2011order", "pre-order"),
        ("customer\u2019s own", "customer's own"),
        ("STRASSE", "Straße"),
        ("Cafe\u0301 Plus", "Café Plus"),
        ("uses C++11 and .NET", "C++"),
        ("uses C++11 and .NET", ".NET"),
        ("我要申请退款。谢谢", "退款"),
        ("我的iPhone坏了", "iphone"),
        ("注文をキャンセルしたいです", "キャンセル"),
        ("ｷｬﾝｾﾙしたい", "キャンセル"),
        ("환불을 받고 싶어요", "환불"),
        ("ขอคืนเงินค่ะ", "คืนเงิน"),
        ("मुझे वापसी चाहिए", "वापसी"),
        ("أريد استرداد المبلغ", "استرداد"),
        ("Хочу вернуть Заказ", "заказ"),
    ],
)
def test_a_term_is_found_in_any_language_and_spelling(text: str, name: str) -> None:
    assert found(text, name) == [name]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("the APIs", "API"),
        ("a pharmacy", "arma"),
        ("snake_case", "case"),
        ("noteworthy credit", "credit note"),
        ("मुझे वापसियाँ", "वापसि"),
        ("заказы", "заказ"),
        ("", "RMA"),
        ("anything", " "),
    ],
)
def test_a_part_of_a_word_is_no_term(text: str, name: str) -> None:
    assert found(text, name) == []


def test_the_longest_comes_first_and_hides_what_is_in_it() -> None:
    assert found("credit, and a credit note", "credit", "credit note") == ["credit note", "credit"]
    assert found("a credit note", "credit", "credit note", "note") == ["credit note"]
    assert found("信用卡退款", "信用", "信用卡", "退款") == ["信用卡", "退款"]


def test_of_two_that_overlap_the_longer_is_found() -> None:
    assert found("gift card balance sheet", "gift card", "card balance sheet") == ["card balance sheet"]


def test_a_term_is_found_by_its_aliases_and_once() -> None:
    assert found("RMA 退货单 rma", "RMA", aliases=("退货单", "return number")) == ["RMA"]


@given(st.text(), st.lists(st.text(min_size=1), min_size=1))
def test_whatever_a_text_holds_a_term_alone_in_it_is_found(text: str, names: list[str]) -> None:
    terms = Terms(Term(name, "x") for name in names)

    assert len(terms.find(text)) <= len(names)
    assert all(len(terms.find(name)) == 1 for name in names if name.strip())
