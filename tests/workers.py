"""Workers under a supervisor that starts another one as soon as one dies, and whoever kills them.

A work-horse may outlive its worker; all that is left ends with the block. Who holds which part of a run is read where
workers keep it, so that a test kills whoever is at the part in question.
"""

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Self

import psutil
import redis

from deploy.stack.processes import StackError
from prelabel.bootstrap import Services
from tests.servers import Running, rq_worker

LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Horse:
    """A work-horse, and the worker that it has if it did not lose it."""

    process: psutil.Process
    worker: psutil.Process | None

    def freeze(self) -> None:
        with suppress(psutil.NoSuchProcess):
            self.process.suspend()

    def thaw(self) -> None:
        with suppress(psutil.NoSuchProcess):
            self.process.resume()

    def kill(self, target: str) -> None:
        """:param target: ``worker``, ``work-horse`` or ``both``."""
        if target != "work-horse" and self.worker:  # first, or it would see its work-horse die
            _kill(self.worker)
        if target != "worker":
            _kill(self.process)


class Workers:
    """That many workers, each replaced once it is dead."""

    def __init__(self, env: Mapping[str, str], count: int = 2) -> None:
        self._env = env
        self._count = count
        self._over = threading.Event()
        self._running: dict[int, Running] = {}
        self._servers = ExitStack()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._supervisors = ThreadPoolExecutor(self._count)
        self._ended = [self._supervisors.submit(self._supervise, slot) for slot in range(self._count)]
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._supervisors.shutdown()
        for running in self._running.values():
            for horse in _horses(psutil.Process(running.pid)) if running.process.process.poll() is None else ():
                horse.thaw()
        self._servers.close()
        for ended in self._ended:
            ended.result()

    def horse(self, pid: int) -> Horse | None:
        """The work-horse of that number; None if it is dead."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            parent = process.ppid()
        except psutil.NoSuchProcess:
            return None
        own = {running.pid for running in self._running.values()}
        return Horse(process, psutil.Process(parent) if parent in own else None)

    def _supervise(self, slot: int) -> None:
        while not self._over.is_set():
            running = self._started()
            if running is None:
                continue
            self._running[slot] = running
            while running.process.process.poll() is None and not self._over.wait(LOOK_S):
                pass

    def _started(self) -> Running | None:
        """One more worker, if one can be started now: not while Redis is away."""
        servers = ExitStack()
        try:
            running = servers.enter_context(rq_worker(self._env))
        except (StackError, redis.RedisError):
            self._over.wait(1)
            return None
        with self._lock:
            self._servers.push(servers)  # not ended with the worker, whose work-horse may live on
        return running


def holders(work: Services, run_id: str) -> dict[str, int]:
    """Who is at which part of a run, by process number; a dead one is until its lease is over."""
    leases: Any = work.redis.hgetall(work.runs._keys.run(run_id, "leases"))
    return {part: int(lease.rpartition(":")[2]) for part, lease in leases.items()}


def _horses(worker: psutil.Process) -> Iterator[Horse]:
    for child in worker.children():
        with suppress(ProcessLookupError):
            if os.getpgid(child.pid) == child.pid:
                yield Horse(child, worker)


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGKILL)
