"""A Redis with an append-only file, brought to the disk every second, that ends in the middle and is there again."""

import os
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import psutil

from tests.servers import Running, free_port, redis_server

EVERY_SECOND = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")
LOOK_S = 0.02


class LastingRedis:
    """:param home: where the file is."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._port = free_port()
        self._servers = ExitStack()
        self._sizes: list[tuple[float, int]] = []
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        self._watcher = threading.Thread(target=self._watch, name="append-only-file")
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()
        self._servers.close()

    @property
    def url(self) -> str:
        return self._running.url

    def start(self) -> None:
        """With what the file holds."""
        server = redis_server(EVERY_SECOND, home=self._home, port=self._port)
        self._running: Running = self._servers.enter_context(server)

    def shut_down(self) -> None:
        """It is asked to end, and brings everything to the disk before."""
        self._servers.close()

    def kill(self) -> None:
        psutil.Process(self._running.pid).kill()
        self._servers.close()

    def lose_power(self, lost_s: float) -> None:
        """Killed, and what it has written in the last seconds did not reach the disk."""
        self.kill()
        before = time.monotonic() - lost_s
        os.truncate(self._file(), max(size for at, size in self._sizes if at <= before))

    def _file(self) -> Path:
        """What is added to it."""
        return max(self._home.glob("appendonlydir/*.incr.aof"))

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            self._sizes.append((time.monotonic(), self._file().stat().st_size))
