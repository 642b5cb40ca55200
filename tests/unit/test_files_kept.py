"""What is kept on disk: answers as they come, and the file in the end."""

import json
from pathlib import Path
from typing import Any

import pytest

from prelabel.errors import RequestError
from prelabel.files.done import Done
from prelabel.files.rows import Row
from prelabel.files.write import build_task, find_out, read_answers, write_tasks

OLD = {"result": [], "score": 0.5, "model_version": "v1"}
NEW = {"result": [{"id": "x"}], "score": 0.9, "model_version": "v2"}


def test_answers_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "out.partial"
    with Done(path, "v2") as done:
        done.add({"a": NEW})
        done.add({"b": NEW, "c": NEW})
        assert done.get("b") == NEW
        done.add({"d": NEW})

    with Done(path, "v2") as again:
        assert [again.get(key) for key in "abcde"] == [NEW, NEW, NEW, NEW, None]
        assert ("a" in again, "e" in again, len(again)) == (True, False, 4)


def test_answers_of_another_version_are_passed_over(tmp_path: Path) -> None:
    with Done(tmp_path / "out.partial", "v1") as done:
        done.add({"a": OLD, "b": OLD})

    with Done(tmp_path / "out.partial", "v2") as done:
        done.add({"a": NEW})
        assert (done.get("a"), "b" in done) == (NEW, False)


@pytest.mark.parametrize("kept", [1, 20, 60])
def test_a_line_that_was_cut_off_is_forgotten_and_the_next_one_whole(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "out.partial"
    with Done(path, "v2") as done:
        done.add({"a": NEW})
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:kept])

    with Done(path, "v2") as done:
        done.add({"b": NEW})

    with Done(path, "v2") as done:
        assert (done.get("a"), done.get("b"), len(done)) == (NEW, NEW, 2)


@pytest.mark.parametrize("line", ["", "rubbish", "[]", "{}", '{"key": "a"}', '{"key": "a", "prediction": 5}', "\x00"])
def test_a_line_that_is_no_answer_is_passed_over(tmp_path: Path, line: str) -> None:
    path = tmp_path / "out.partial"
    path.write_text(f"{line}\n")

    with Done(path, "v2") as done:
        assert len(done) == 0


def test_two_processes_do_not_work_on_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "out.partial"

    with Done(path, "v1"), pytest.raises(RequestError, match="another process is at work on it"):
        Done(path, "v1")
    with Done(path, "v1") as done:
        done.remove()
    assert not path.exists()


def test_tasks_are_built_without_what_another_label_studio_would_refuse() -> None:
    row = Row(1, 2, {"text": "a"}, meta={"from": "web"})
    made = {"id": 5, "result": [], "completed_by": 7, "was_cancelled": True, "task": 9}

    assert build_task(row, [made], NEW) == {
        "data": {"text": "a"},
        "meta": {"from": "web"},
        "annotations": [{"result": [], "was_cancelled": True}],
        "predictions": [NEW],
    }
    assert build_task(Row(1, 2, {"text": "a"}), [], None) == {"data": {"text": "a"}}


@pytest.mark.parametrize(
    "data", [[], [{"data": {"text": "Grüße, 返金, \ud83d, \u2028"}}], [{"data": {}}, {"data": {}}]]
)
def test_what_is_written_is_json_in_utf_8(tmp_path: Path, data: list[dict[str, Any]]) -> None:
    path = tmp_path / "out.json"

    write_tasks(path, data)

    assert json.loads(path.read_text("utf-8")) == data
    assert [each.name for each in tmp_path.iterdir()] == ["out.json"]


def test_a_file_is_the_old_one_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")

    with pytest.raises(TypeError):
        write_tasks(path, [{"data": {}}, {"data": object()}])

    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["out.json"]


def test_answers_are_read_back_from_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    rows = [Row(1, 2, {"text": text}) for text in "abc"]
    write_tasks(
        path, [build_task(rows[0], [], NEW), build_task(rows[1], [], None), build_task(rows[2], [{"result": []}], None)]
    )

    assert read_answers(path) == {rows[0].key: NEW}
    assert read_answers(tmp_path / "none.json") == {}


@pytest.mark.parametrize(
    "content",
    [
        b"text,id\n",
        b"\xff",
        b"[5]",
        b'[{"text": "a"}]',
        b'[{"data": {}, "id": 7}]',
        b'[{"data": {}, "predictions": [5]}]',
        b'[{"data": {}, "predictions": [{"result": []}]}]',
    ],
)
def test_what_this_command_has_not_written_is_not_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "out.json"
    path.write_bytes(content)

    with pytest.raises(RequestError, match=r"is there already.*name another file, or remove it"):
        read_answers(path)


def test_an_empty_file_may_be_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.touch()

    assert read_answers(path) == {}


def test_a_link_stays_and_what_it_names_is_written(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "out.json")

    assert find_out(link, "-") == tmp_path / "out.json"


@pytest.mark.parametrize("out", ["/dev/null", ".", "missing/out.json", "in.csv"])
def test_where_nothing_should_be_written_nothing_is(tmp_path: Path, out: str) -> None:
    (tmp_path / "in.csv").touch()

    with pytest.raises(RequestError):
        find_out(tmp_path / out, str(tmp_path / "in.csv"))
