"""Files as people have them, to rows; what is wrong with one is told with its line."""

import csv
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.errors import RequestError
from prelabel.files.csv_rows import sniff_delimiter
from prelabel.files.read import TicketFile, open_tickets
from prelabel.files.rows import Malformed, Row

Found = list[tuple[int, Any]]


def read(content: str | bytes, name: str = "tickets.csv") -> Found:
    """By each row's line its data, or what is wrong with it."""
    file = TicketFile(io.BytesIO(content.encode() if isinstance(content, str) else content), name)
    return told(file.rows())


def told(rows: Iterable[Row | Malformed]) -> Found:
    return [(row.line, row.reason if isinstance(row, Malformed) else row.data) for row in rows]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "^", ":", " "])
def test_a_table_is_read_whatever_separates_its_columns(delimiter: str) -> None:
    content = f'text{delimiter}category\n"a, b; c"{delimiter}x\n"it\'s"{delimiter}y\n"d | e: f"{delimiter}z\n'

    assert read(content) == [
        (2, {"text": "a, b; c", "category": "x"}),
        (3, {"text": "it's", "category": "y"}),
        (4, {"text": "d | e: f", "category": "z"}),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_a_table_may_end_in_any_way_and_a_quoted_field_holds_several(end: str) -> None:
    content = end.join(["text,id", '"Dear all,', "", 'he said ""no"".",1', "", "next,2"])

    assert read(content) == [
        (2, {"text": f'Dear all,{end}{end}he said "no".', "id": "1"}),
        (6, {"text": "next", "id": "2"}),
    ]


@pytest.mark.parametrize("sample", ["text\nHello, world\n", "ticket text\nI am, well; here\nyes\n", "text\n"])
def test_what_stands_in_no_header_separates_nothing(sample: str) -> None:
    assert sniff_delimiter(sample) == ","


def test_semicolons_in_the_header_win_over_commas_in_the_tickets() -> None:
    assert read("text;category\nHello, you;x\nYes, no, maybe;y\n")[1] == (
        3,
        {"text": "Yes, no, maybe", "category": "y"},
    )


@pytest.mark.parametrize("name", ["tickets.csv", "tickets.json", "tickets.jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_first_name(name: str) -> None:
    content = {"csv": "text\nGrüße\n", "json": '[{"text": "Grüße"}]', "jsonl": '{"text": "Grüße"}\n'}

    assert [data for _, data in read(b"\xef\xbb\xbf" + content[name.split(".")[1]].encode(), name)] == [
        {"text": "Grüße"}
    ]


def test_a_row_with_too_many_or_too_few_fields_is_left_out_and_the_rest_read() -> None:
    assert read("text,id\nok,1\nHello, you,2\nshort\nfine,3\n") == [
        (2, {"text": "ok", "id": "1"}),
        (3, "it has 3 fields, the header has 2"),
        (4, "it has 1 fields, the header has 2"),
        (5, {"text": "fine", "id": "3"}),
    ]


def test_a_quote_that_is_never_closed_costs_its_own_line_alone() -> None:
    found = read('text,id\none,1\n"two,2\nthree,3\n"four",4\nfive,5\n"six,6\nseven,7\n')

    assert [(line, row if isinstance(row, dict) else row[:23]) for line, row in found] == [
        (2, {"text": "one", "id": "1"}),
        (3, "its quotes do not match"),
        (4, {"text": "three", "id": "3"}),
        (5, {"text": "four", "id": "4"}),
        (6, {"text": "five", "id": "5"}),
        (7, "its quotes do not match"),
        (8, {"text": "seven", "id": "7"}),
    ]


def test_bytes_that_are_not_utf_8_cost_their_row() -> None:
    assert read(b"text,id\nGr\xfc\xdfe,1\nok,2\n") == [(2, "it is not UTF-8"), (3, {"text": "ok", "id": "2"})]
    assert read(b'{"text": "Gr\xfc"}\n{"text": "ok"}\n', "a.jsonl") == [(1, "it is not UTF-8"), (2, {"text": "ok"})]
    assert read(b'[{"text": "Gr\xfc"},\n{"text": "ok"}]', "a.json") == [(1, "it is not UTF-8"), (2, {"text": "ok"})]


def test_a_ticket_may_be_a_megabyte_long() -> None:
    long = "word " * 200_000

    assert read(f'text,id\n"{long}",1\n') == [(2, {"text": long, "id": "1"})]


def test_a_column_without_a_name_is_called_by_its_place() -> None:
    assert read(",text,\n0,hello,\n") == [(2, {"column 1": "0", "text": "hello", "column 3": ""})]


def test_lines_before_the_header_are_blank() -> None:
    assert read("\n,\ntext,id\na,1\n") == [(4, {"text": "a", "id": "1"})]


def test_a_table_of_nothing_but_a_header_has_no_rows() -> None:
    assert read("text,id\n") == []


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "a.csv", "it is empty"),
        (b" \n\n", "a.csv", "it is empty"),
        (b"a,b,a\n1,2,3\n", "a.csv", "two of its columns are called 'a'"),
        (b'"a,b\n1,2\n', "a.csv", "its header row cannot be read: unexpected end of data"),
        (b",,\n,\n", "a.csv", "it has no header row"),
        (b"t\xe4xt,id\n1,2\n", "a.csv", "its header row is not UTF-8"),
        ("text\nhello\n".encode("utf-16"), "a.csv", "it is UTF-16: save it as UTF-8"),
        (b'[{"text": "a"},\n{"text": }]', "a.json", "it is no JSON: line 2: Expecting value"),
        (b'[{"text": "a"}\n{"text": "b"}]', "a.json", "it is no JSON: line 2: Expecting ',' or ']'"),
        (b'[{"text": "a"}] x', "a.json", "it is no JSON: line 1: Extra data"),
        (b'[{"text": "a"},', "a.json", "it is no JSON: line 1: Expecting value"),
        (b"text,id", "a.json", "it is no JSON: line 1: Expecting value"),
        (b"[" * 100_000, "a.json", "it is no JSON: line 1: maximum recursion depth exceeded"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused_as_a_whole(content: bytes, name: str, message: str) -> None:
    with pytest.raises(RequestError) as refused:
        read(content, name)

    assert str(refused.value).startswith(message)


def test_a_json_list_holds_data_or_tasks_and_each_has_its_line() -> None:
    content = '[\n  {"text": "a", "data": "x"},\n  {"data": {"text": "b"}, "id": 7},\n  5,\n  "c"\n]\n'

    assert read(content, "a.json") == [
        (2, {"text": "a", "data": "x"}),
        (3, {"text": "b"}),
        (4, "it is no object but 5"),
        (5, 'it is no object but "c"'),
    ]
    assert read(" [ ] ", "a.json") == []


def test_a_task_brings_its_annotations_and_meta_along() -> None:
    task = {"id": 7, "data": {"text": "a"}, "meta": {"from": "web"}, "annotations": [{"id": 1, "result": []}]}
    file = TicketFile(io.BytesIO(json.dumps([task, {**task, "annotations": "none"}]).encode()), "a.json")

    assert list(file.rows()) == [
        Row(1, 1, {"text": "a"}, ({"id": 1, "result": []},), {"from": "web"}),
        Malformed(2, 1, "its annotations are no list of objects with a list as result"),
    ]


def test_a_line_that_is_no_json_costs_that_line() -> None:
    found = read('{"text": "a"}\n\n{"text": "b"\n[1]\n{"text": "c"}', "a.jsonl")

    assert [(line, row if isinstance(row, dict) else row[:18]) for line, row in found] == [
        (1, {"text": "a"}),
        (3, "it is no JSON: Exp"),
        (4, "it is no object bu"),
        (5, {"text": "c"}),
    ]


def test_not_a_number_is_nothing() -> None:
    assert read('[{"text": "a", "age": NaN}]', "a.json") == [(1, {"text": "a", "age": None})]


@pytest.mark.parametrize("name", ["-", "tickets", "tickets.json", "tickets.txt"])
def test_json_is_known_by_its_beginning(name: str) -> None:
    assert read('[{"text": "a"}]', name) == [(1, {"text": "a"})]
    assert read('\n{"text": "a"}\n{"text": "b"}\n', name) == [(2, {"text": "a"}), (3, {"text": "b"})]
    assert read('{\n  "data": {"text": "a"}\n}', name) == [(1, {"text": "a"})]


@pytest.mark.parametrize("name", ["-", "tickets", "tickets.txt"])
def test_what_is_no_json_is_a_table(name: str) -> None:
    assert read("text,id\na,1\n", name) == [(2, {"text": "a", "id": "1"})]


def test_a_file_gives_its_rows_as_often_as_it_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "tickets.csv"
    path.write_text("text\na\nb\n")

    with open_tickets(str(path)) as tickets:
        first, second = told(tickets.rows()), told(tickets.rows())

    assert first == second == [(2, {"text": "a"}), (3, {"text": "b"})]


def test_so_does_a_pipe(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"text\na\n")
    os.close(writing)

    with open_tickets(f"/dev/fd/{reading}") as tickets:
        first, second = told(tickets.rows()), told(tickets.rows())
    os.close(reading)

    assert first == second == [(2, {"text": "a"})]


def test_a_file_that_cannot_be_opened_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="it cannot be read: No such file or directory"), open_tickets("/none.csv"):
        pass
    with pytest.raises(RequestError, match="it cannot be read: Is a directory"), open_tickets(str(tmp_path)):
        pass


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=2, max_size=2), max_size=6))
def test_what_the_csv_module_writes_is_read_back(rows: list[list[str]]) -> None:
    written = io.StringIO(newline="")
    csv.writer(written).writerows([["text", "id"], *rows])

    found = [data for _, data in read(written.getvalue())]

    assert found == [{"text": text, "id": number} for text, number in rows]


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_no_file_is_read_with_anything_but_rows_and_a_refusal(content: str) -> None:
    for name in ("a.csv", "a.json", "a.jsonl", "a"):
        try:
            found = read(content, name)
        except RequestError:
            continue
        assert all(line >= 1 for line, _ in found)
