"""What is seen of a bulk run from outside while it goes on: when each stage was over, and what its processes take."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil
import redis

from prelabel.store.run import ENDED, Run
from prelabel.store.runs import Runs

LOOK_S = 0.05
MEMORY_LOOK_S = 1.0
"""Reading a process's own memory takes it some milliseconds."""
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Stages:
    """Seconds between one event and the next."""

    start: float
    """From asking for the run to its first tasks in the ledger."""
    planning: float
    """From asking for the run to its last task in the ledger; labelling goes on meanwhile."""
    asking: float
    """From the first tasks in the ledger to the last answer."""
    writing: float
    """From the last answer to the end of the last import."""
    finishing: float
    """From there to the end of the run."""

    @property
    def whole(self) -> float:
        return self.start + self.asking + self.writing + self.finishing


def watched(runs: Runs, run_id: str, began: float) -> tuple[Stages, Run]:
    """The stages of a run, once it has ended.

    :param began: when it was asked for, of ``time.monotonic``.
    :raises SystemExit: it failed.
    """
    first = planned = answered = written = 0.0
    while True:
        run, now = runs.get(run_id), time.monotonic()
        first = first or (now if run.planned else 0.0)
        planned = planned or (now if run.is_planned else 0.0)
        answered = answered or (now if run.is_planned and not run.waiting else 0.0)
        written = written or (now if answered and not run.answered else 0.0)
        if run.state in ENDED:
            break
        time.sleep(LOOK_S)
    if run.state != "succeeded":
        raise SystemExit(f"the run {run.state}: {run.message}")
    return Stages(first - began, planned - began, answered - first, written - answered, now - written), run


@dataclass(slots=True)
class Peaks:
    """The most that any process took, in megabytes: all of it, and what it shares with no other."""

    rss: float = 0.0
    uss: float = 0.0
    series: list[float] = field(default_factory=list)
    """The largest process's own memory at each look."""


@dataclass(slots=True)
class Memory:
    workers: Peaks = field(default_factory=Peaks)
    horses: Peaks = field(default_factory=Peaks)
    """Of the processes that workers fork for a job."""


@contextmanager
def memory_of(workers: Sequence[int]) -> Iterator[Memory]:
    """What these processes and their children take, looked at for as long as the block lasts."""
    seen, over = Memory(), threading.Event()

    def look() -> None:
        while not over.wait(MEMORY_LOOK_S):
            for pid in workers:
                with suppress(psutil.Error):
                    worker = psutil.Process(pid)
                    _note(seen.workers, [worker])
                    _note(seen.horses, worker.children(recursive=True))

    thread = threading.Thread(target=look, name="memory", daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _note(peaks: Peaks, processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            taken = process.memory_full_info()
            peaks.rss = max(peaks.rss, taken.rss / MEGABYTE)
            peaks.uss = max(peaks.uss, taken.uss / MEGABYTE)
            peaks.series.append(round(taken.uss / MEGABYTE, 1))


def bytes_kept(client: redis.Redis, run_id: str) -> dict[str, int]:
    """What Redis takes for a run: its ``ledger``, what is remembered as ``predicted``, and kept ``answers``."""
    kept = {"ledger": 0, "predicted": 0, "answers": 0}
    for key in client.scan_iter(match="prelabel:*", count=1000):
        taken = int(client.memory_usage(key, samples=0) or 0)
        if f":run:{run_id}" in key:
            kept["ledger"] += taken
        elif ":predicted" in key or ":version:" in key:
            kept["predicted"] += taken
        elif ":answers:" in key:
            kept["answers"] += taken
    return kept
