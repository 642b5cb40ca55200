"""One event loop in a thread of its own, on which all requests of a process to LLMs run.

The edges (Flask's threads, RQ's jobs, the shell) are synchronous: they hand work over and wait for what it gives. Loop
and connections are made on first use, so a server that loads the application and then forks has none to share.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import openai

from prelabel.config import Settings
from prelabel.llm.chat import ChatClient, Endpoint

T = TypeVar("T")


class LLM:
    """The way from synchronous code to LLMs.

    :param concurrency: requests in flight at once, over all projects, in each process.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._lock = threading.Lock()
        self._process: _Process | None = None

    def run(
        self,
        settings: Settings,
        work: Callable[[ChatClient], Coroutine[Any, Any, T]],
        timeout_s: float,
        *,
        is_awaited: bool = False,
    ) -> T:
        """What ``work`` gives, called with the LLM that ``settings`` name.

        :param is_awaited: somebody looks at the screen until it is there: it need not queue behind bulk work.
        :raises LLMRefusesRequest: none is configured.
        :raises TimeoutError: it took longer than ``timeout_s`` and was cancelled.
        """
        process = self._current()
        future = asyncio.run_coroutine_threadsafe(process.start(settings, work, is_awaited=is_awaited), process.loop)
        try:
            return future.result(timeout_s)
        finally:
            future.cancel()  # which is nothing if it is there

    def close(self) -> None:
        """Hang up, and end the loop; what still runs on it is left unfinished."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None and process.pid == os.getpid():
            process.close()

    def _current(self) -> "_Process":
        with self._lock:
            if self._process is None or self._process.pid != os.getpid():
                self._process = _Process(self._concurrency)
            return self._process


class _Process:
    """What one process has of its own: loop, connections by endpoint, slots, of which bulk work leaves an eighth."""

    def __init__(self, concurrency: int) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._connections: dict[Endpoint, openai.AsyncOpenAI] = {}
        self._slots = asyncio.Semaphore(concurrency)
        self._bulk_slots = asyncio.Semaphore(max(1, concurrency - -(-concurrency // 8)))
        self._thread = threading.Thread(target=self.loop.run_forever, name="llm-loop", daemon=True)
        self._thread.start()

    async def start(
        self, settings: Settings, work: Callable[[ChatClient], Coroutine[Any, Any, T]], *, is_awaited: bool
    ) -> T:
        endpoint = Endpoint.of(settings)
        if endpoint not in self._connections:
            self._connections[endpoint] = endpoint.connect()
        slots = (self._slots,) if is_awaited else (self._bulk_slots, self._slots)
        return await work(ChatClient(self._connections[endpoint], settings, slots))

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._wind_up(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _wind_up(self) -> None:
        unfinished = asyncio.all_tasks() - {asyncio.current_task()}
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        for connection in self._connections.values():
            await connection.close()
