"""Label Studio's import format, written so that a file is either the old one or the new one, and read back."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prelabel.errors import RequestError
from prelabel.files.json_rows import json_values
from prelabel.files.rows import Row
from prelabel.studio.predictions import Item

Task = Mapping[str, Any]

ADVICE = "name another file, or remove it"

KEYS = frozenset({"data", "meta", "annotations", "predictions"})
KEPT_OF_ANNOTATION = ("result", "was_cancelled", "ground_truth")
"""The rest names users and ids of another Label Studio, for which an import is refused."""


def build_task(row: Row, annotations: Iterable[Mapping[str, Any]], prediction: Item | None) -> Task:
    """A task to import."""
    task: dict[str, Any] = {"data": row.data}
    if row.meta:
        task["meta"] = row.meta
    if kept := [{name: each[name] for name in KEPT_OF_ANNOTATION if name in each} for each in annotations]:
        task["annotations"] = kept
    if prediction:
        task["predictions"] = [prediction]
    return task


def find_out(out: Path, source: str) -> Path:
    """Where to write what is to be at ``out``: links are followed, so that they stay.

    :raises RequestError: nothing can or should be written there.
    """
    path = out.resolve()
    if path.exists() and not path.is_file():
        raise RequestError("file", f"{out} is no file")
    if path == Path(source).resolve():
        raise RequestError("file", f"{out} would be written over itself: name another file")
    if not path.parent.is_dir():
        raise RequestError("file", f"{out} cannot be written: there is no directory {path.parent}")
    return path


def write_tasks(path: Path, tasks: Iterable[Task]) -> None:
    """Put a JSON list of ``tasks`` at ``path``, in the place of what is there."""
    new = path.with_name(f"{path.name}.new")
    try:
        with new.open("wb") as file:
            for number, task in enumerate(tasks):
                file.write(b",\n" if number else b"[\n")
                # Half a character, which UTF-8 cannot hold, becomes what JSON writes for it: \ud83d
                file.write(json.dumps(task, ensure_ascii=False).encode("utf-8", "backslashreplace"))
            file.write(b"\n]\n" if file.tell() else b"[]\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def read_answers(path: Path) -> Mapping[str, Item]:
    """The predictions in a file that was written before, by the key of their row; none if there is no such file.

    :raises RequestError: it holds anything else, which must not be overwritten.
    """
    if not path.exists():
        return {}
    try:
        text = path.read_text("utf-8")
        tasks = [task for _, _, task in json_values(text)] if text.strip() else []
    except (RequestError, UnicodeDecodeError) as error:
        raise RequestError("file", f"{path} is there already, and {error}: {ADVICE}") from None
    if not all(map(_is_ours, tasks)):
        raise RequestError("file", f"{path} is there already, and was not written by this command: {ADVICE}")
    return {Row(0, 0, task["data"]).key: task["predictions"][0] for task in tasks if "predictions" in task}


def _is_ours(task: object) -> bool:
    """Whether :func:`build_task` may have built it; what Label Studio exports has more."""
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict) or not KEYS.issuperset(task):
        return False
    match task.get("predictions", None):
        case None | [{"result": list(), "score": float(), "model_version": str()}]:
            return True
    return False
