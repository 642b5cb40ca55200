"""Where a bulk run's tasks are: a real Label Studio of its own, or one in memory that is never what is waited for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import click
import psutil

from benchmarks.many_tasks import PROJECT, ManyTasksProcess, many_tasks
from benchmarks.predict import seconds
from prelabel.core.types import Labeled
from prelabel.studio.client import StudioClient
from prelabel.studio.label_config import parse_label_config
from prelabel.studio.predictions import batch_item
from tests.e2e.studio_api import StudioApi
from tests.servers import label_studio

STUDIO_TIMEOUT_S = 1800
TASKS_AT_ONCE = 10_000
MEMORY_EFFICIENT = {"fflag_fix_back_4620_memory_efficient_predictions_import_08012025_short": "true"}


@dataclass(frozen=True, slots=True)
class Tickets:
    """Texts by task number, 1 and up; the same for every process."""

    texts: tuple[str, ...]

    def __call__(self, number: int) -> str:
        again, place = divmod(number - 1, len(self.texts))
        return f"{self.texts[place]} ({again})" if again else self.texts[place]


class Studio(Protocol):
    """Where the tasks are."""

    @property
    def url(self) -> str: ...

    @property
    def token(self) -> str: ...

    def project(self) -> int:
        """A project with all tasks and no prediction."""

    def lacking(self, project: int) -> int:
        """How many of its tasks have not one prediction."""


@dataclass(frozen=True, slots=True)
class RealStudio:
    url: str
    token: str
    api: StudioApi
    label_config: str
    tickets: Tickets
    count: int
    pid: int

    @property
    def cpu_s(self) -> float:
        """Seconds of a processor that Label Studio has taken so far."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    def project(self) -> int:
        project = self.api.create_project("Tickets", self.label_config)
        for first in range(1, self.count + 1, TASKS_AT_ONCE):
            numbers = range(first, min(first + TASKS_AT_ONCE, self.count + 1))
            self.api.import_tasks(project, [{"text": self.tickets(number)} for number in numbers])
        return project

    def grown(self, count: int) -> dict[str, str]:
        """Seconds that a page of ids, one of tasks, an import of 10,000 predictions and two counts take, and how many
        of a processor, which other load on the machine does not change.
        """
        project = replace(self, count=count).project()
        client = StudioClient(self.url, self.token, STUDIO_TIMEOUT_S)
        config = parse_label_config(self.label_config)
        question = config.questions[0]
        item = batch_item(Labeled({question.name: (question.labels[0].value,)}, 0.9), config, "growth")
        tasks = [task["id"] for task in client.tasks_between(project, 1, 10**9, without=None, fields=("id",))]
        work: dict[str, Callable[[], object]] = {
            "first_ids": lambda: client.task_ids(project, without="growth", after_id=0, count=1000),
            "last_ids": lambda: client.task_ids(project, without="growth", after_id=tasks[-1001], count=1000),
            "tasks": lambda: list(client.tasks_between(project, tasks[500], tasks[999], without="growth")),
            "import": lambda: client.import_predictions(project, [{"task": task, **item} for task in tasks[:10_000]]),
            "next_import": lambda: client.import_predictions(project, [{"task": tasks[-1], **item}]),
            "has_surplus": lambda: client.has_surplus(project, "growth"),
        }
        told = dict[str, str]()
        for name, each in work.items():
            before = self.cpu_s
            taken_s = seconds(each)
            told[name] = f"{taken_s:.2f} s, {self.cpu_s - before:.2f} of a processor"
        return told

    def lacking(self, project: int) -> int:
        return self.count - len({row["task"] for row in self.api.predictions(project)})


@dataclass(frozen=True, slots=True)
class FakeStudio:
    process: ManyTasksProcess

    @property
    def url(self) -> str:
        return self.process.url

    @property
    def token(self) -> str:
        return self.process.token

    def project(self) -> int:
        self.process.clear()
        return PROJECT

    def lacking(self, _: int) -> int:
        return self.process.lacking()


@contextmanager
def open_studio(
    config: str, tickets: Tickets, count: int, *, is_fake: bool = False, with_flag: bool = False
) -> Iterator[Studio]:
    """One of its own, whose projects have ``count`` tasks.

    :param with_flag: with memory-efficient imports.
    """
    if is_fake:
        with many_tasks(count, tickets, config) as fake:
            yield FakeStudio(fake)
        return
    click.echo("starting Label Studio ...", err=True)
    with label_studio(MEMORY_EFFICIENT if with_flag else None) as real:
        api = StudioApi(real.url, real.token)
        studio = RealStudio(real.url, real.token, api, config, tickets, count, real.server.pid)
        _warm(replace(studio, count=1))
        yield studio
        api.close()


def _warm(studio: RealStudio) -> None:
    """Its first requests are slow."""
    project = studio.project()
    client = StudioClient(studio.url, studio.token)
    (task,) = client.tasks_between(project, 1, 10**9, without=None)
    client.import_predictions(project, [{"task": task["id"], "result": [], "score": 0.0, "model_version": "warm"}])
