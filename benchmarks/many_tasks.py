"""A Label Studio with any number of tasks, in memory and in a process of its own, to see how runs grow.

The tests' fake with another table of tasks: ids and texts are computed, predictions counted and not kept, so that a
million tasks take a megabyte and no listing reads more than it answers. What an import or a page costs a real Label
Studio is not to be learned here.
"""

import json
import multiprocessing
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from tests.fakes.studio_server import FakeLabelStudio
from tests.fakes.studio_tasks import Json, Reply, StudioTasks

PROJECT = 1
CREATED = "2026-11-21T00:00:00.000000Z"
_START_S = 60


class ManyTasks(StudioTasks):
    """Tasks 1 to ``count`` of one project, all predictions of one version.

    :param text: of a task, by its id.
    """

    def __init__(self, count: int, text: Callable[[int], str]) -> None:
        super().__init__()
        self._text = text
        self._count = count
        self._made = bytearray(count + 1)
        """How many predictions each task has."""
        self._version = ""

    def versions(self) -> Counter[str]:
        with self._lock:
            return Counter({self._version: sum(self._made)})

    def listed(self, query: Mapping[str, list[str]]) -> Reply:
        items = json.loads(query["query"][0])["filters"]["items"]
        first, last, counts = 1, self._count, range(256)
        for item in items:
            match item["filter"], item["operator"]:
                case "filter:tasks:id", "greater":
                    first = max(first, item["value"] + 1)
                case "filter:tasks:id", "less":
                    last = min(last, item["value"] - 1)
                case "filter:tasks:total_predictions", "greater":
                    counts = range(max(counts.start, item["value"] + 1), counts.stop)
                case "filter:tasks:predictions_model_versions", "contains":
                    counts = range(max(counts.start, 1), counts.stop)
                case "filter:tasks:predictions_model_versions", "not_contains":
                    counts = range(counts.start, 1)
                case _:
                    raise ValueError(f"no filter of ours: {item}")
        with self._lock:
            found, total = self._found(first, last, counts, int(query["page_size"][0]))
        tasks: list[Json] = [{"id": task, "data": {"text": self._text(task)}} for task in found]
        if query["fields"] == ["all"]:
            tasks = [{**task, "predictions": []} for task in tasks]
        return 200, {"tasks": tasks, "total": total, "total_annotations": 0, "total_predictions": 0}

    def imported(self, rows: list[Json], _project: str) -> Reply:
        with self._lock:
            for row in rows:
                self._made[row["task"]] += 1
                self._version = row["model_version"]
        return 201, {"created": len(rows)}

    def clear(self) -> None:
        """No task has a prediction any more."""
        with self._lock:
            self._made = bytearray(self._count + 1)

    def lacking(self) -> int:
        """How many tasks have not one prediction."""
        with self._lock:
            return self._count - self._made.count(1)

    def _found(self, first: int, last: int, counts: range, most: int) -> tuple[list[int], int]:
        """The first tasks with so many predictions, and how many there are in all."""
        if counts.start == 0 and counts.stop > 1:
            return list(range(first, min(last, first + most - 1) + 1)), max(0, last - first + 1)
        has_none = counts.stop == 1
        none = self._made.count(0, first, last + 1)
        total = none if has_none else max(0, last - first + 1 - none)
        if counts.start > 1:
            total = sum(made in counts for made in self._made[first : last + 1])
        found = list[int]()
        for task in range(first, last + 1) if total else ():
            if len(found) == min(most, total):
                break
            if self._made[task] in counts:
                found.append(task)
        return found, total


class ManyTasksProcess:
    """The parent's handle."""

    def __init__(self, pipe: Connection, url: str, token: str) -> None:
        self._pipe = pipe
        self.url = url
        self.token = token

    def lacking(self) -> int:
        """How many tasks have not one prediction."""
        self._pipe.send("lacking")
        return int(self._pipe.recv())

    def clear(self) -> None:
        """No task has a prediction any more."""
        self._pipe.send("clear")
        self._pipe.recv()


@contextmanager
def many_tasks(count: int, text: Callable[[int], str], label_config: str) -> Iterator[ManyTasksProcess]:
    """
    :param text: of a task, by its id; can be pickled.
    """
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    told = (its, count, text, label_config)
    process = context.Process(target=_serve, args=told, name="fake-studio", daemon=True)
    process.start()
    its.close()
    try:
        if not ours.poll(_START_S):
            raise SystemExit(f"the fake Label Studio did not start within {_START_S} s")
        yield ManyTasksProcess(ours, *ours.recv())
    finally:
        ours.close()
        process.join()


def _serve(pipe: Connection, count: int, text: Callable[[int], str], label_config: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's end is ours
    with FakeLabelStudio() as studio, suppress(EOFError):
        studio.tasks = tasks = ManyTasks(count, text)
        project: dict[str, Any] = {"id": PROJECT, "title": "Tickets", "created_at": CREATED}
        studio.projects[PROJECT] = {**project, "label_config": label_config, "model_version": ""}
        pipe.send((studio.url, studio.legacy_token))
        while True:
            if pipe.recv() == "clear":
                tasks.clear()
            pipe.send(tasks.lacking())
