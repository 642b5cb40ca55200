"""A process of its own that asks an LLM about tickets, as a bulk run does: for tests of what holds over all.

``python -m tests.asker SECONDS TICKETS`` takes its settings from the environment, as prelabel does, and prints on its
last line, as JSON, how many tickets were labelled, and why the others were not.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prelabel.bootstrap import build, configure_logging
from prelabel.config import Settings
from prelabel.core.types import Failed
from prelabel.project import Project
from prelabel.store.keys import ProjectRef
from prelabel.store.projects import ProjectState
from prelabel.studio.label_config import parse_label_config
from tests.servers import REPOSITORY

CONFIG = """
<View><Text name="text" value="$text"/>
<Choices name="intent" toName="text"><Choice value="refund"/><Choice value="other"/></Choices></View>
"""
CHUNK = 100
"""Tickets at a time."""


@contextmanager
def askers(count: int, seconds: float, env: Mapping[str, str], tickets: int = 1_000_000) -> Iterator[list["Asker"]]:
    """So many processes at once; ended with the block if they have not ended before.

    :param tickets: for each.
    """
    command = [sys.executable, "-m", "tests.asker", str(seconds), str(tickets)]
    env = {"PATH": os.environ["PATH"], "LLM_TASKS_PER_REQUEST": "1", "FEW_SHOT_EXAMPLES": "0", **env}
    started = [
        subprocess.Popen(command, cwd=REPOSITORY, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        yield [Asker(process) for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()


class Asker:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.log = ""

    def kill(self) -> None:
        self._process.kill()

    def said(self) -> dict[str, int]:
        """What it printed: ``labeled`` and reasons of failures, each with its count; waits for its end."""
        out, self.log = self._process.communicate()
        assert self._process.returncode == 0, self.log
        counts: dict[str, int] = json.loads(out.splitlines()[-1])
        return counts


def main(seconds: float, tickets: int) -> None:
    ends = time.monotonic() + seconds
    settings = Settings.from_env()
    configure_logging(settings)
    work = build(settings)
    project = Project.of(ProjectState(ProjectRef(os.getpid())), parse_label_config(CONFIG), settings)
    counts: Counter[str] = Counter()
    for start in range(0, tickets, CHUNK):
        numbers = range(start, min(start + CHUNK, tickets))
        tasks = [{"id": n, "data": {"text": f"refund {n} of {os.getpid()}"}} for n in numbers]
        for outcome in work.labeler.label_tasks(project, tasks, deadline_s=max(0.1, ends - time.monotonic())):
            counts[outcome.reason if isinstance(outcome, Failed) else type(outcome).__name__.lower()] += 1
        if time.monotonic() > ends:
            break
    work.close()
    print(json.dumps(counts))  # noqa: T201  its one result


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
