"""One event loop in a thread of its own, on which all requests of a process to LLMs run.

The edges (Flask's threads, RQ's jobs, the shell) are synchronous: they hand work over and wait for what it gives. Loop
and connections are made on first use, so a server that loads the application and then forks has none to share.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit

import openai

from prelabel.config import Settings
from prelabel.core.rates import Rates
from prelabel.llm.budget import OwnBudget
from prelabel.llm.capabilities import Learned
from prelabel.llm.chat import ChatClient, Limits
from prelabel.llm.endpoint import Endpoint, Target, targets
from prelabel.llm.fallbacks import Cooldowns, Fallbacks
from prelabel.llm.limits import KeyLimits
from prelabel.llm.memory import Memory, NoMemory

T = TypeVar("T")
Limiting = Callable[[Endpoint], Limits]
"""Makes the limits of an endpoint, once a process and on its loop."""


def own_limits(settings: Settings, endpoint: Endpoint) -> KeyLimits:
    """What a process that is by itself keeps to; ``LLM_RPM`` and ``LLM_TPM`` are about the main server alone."""
    return KeyLimits(settings.llm_concurrency, OwnBudget(rates_of(settings, endpoint)))


def rates_of(settings: Settings, endpoint: Endpoint) -> Rates:
    """What the settings say of a server's limits."""
    is_main = urlsplit(endpoint.base_url).netloc == urlsplit(settings.llm_url).netloc
    return Rates(settings.llm_rpm, settings.llm_tpm) if is_main else Rates()


class LLM:
    """The way from synchronous code to LLMs.

    :param concurrency: requests in flight at once at one server by one key, over all projects, in each process.
    :param memory: where what is learned of servers is kept for other processes.
    :param limiting: what holds requests back; by default ``concurrency`` and what the server asks for.
    """

    def __init__(self, concurrency: int, memory: Memory | None = None, limiting: Limiting | None = None) -> None:
        self._concurrency = concurrency
        self._memory = memory or NoMemory()
        self._limiting = limiting
        self._lock = threading.Lock()
        self._process: _Process | None = None

    def run(
        self,
        settings: Settings,
        work: Callable[[Fallbacks], Coroutine[Any, Any, T]],
        timeout_s: float,
        *,
        is_awaited: bool = False,
    ) -> T:
        """What ``work`` gives, called with the LLMs that ``settings`` name.

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
                self._process = _Process(self._concurrency, self._memory, self._limiting)
            return self._process


class _Process:
    """What one process has of its own: loop, and by endpoint its connections, limits and what is known of it."""

    def __init__(self, concurrency: int, memory: Memory, limiting: Limiting | None) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._connections: dict[Endpoint, openai.AsyncOpenAI] = {}
        self._limits: dict[Endpoint, Limits] = {}
        self._learned: dict[str, Learned] = {}
        self._memory = memory
        self._limiting = limiting or (lambda _: KeyLimits(concurrency, OwnBudget(Rates())))
        self._cooldowns = Cooldowns(memory)
        self._thread = threading.Thread(target=self.loop.run_forever, name="llm-loop", daemon=True)
        self._thread.start()

    async def start(
        self, settings: Settings, work: Callable[[Fallbacks], Coroutine[Any, Any, T]], *, is_awaited: bool
    ) -> T:
        found = targets(settings)
        models = [self._client(target, settings, is_awaited=is_awaited) for target in found]
        return await work(Fallbacks(models, [target.account_name for target in found], self._cooldowns))

    def _client(self, target: Target, settings: Settings, *, is_awaited: bool) -> ChatClient:
        at, name = target.endpoint, target.server_name
        if at not in self._connections:
            self._connections[at] = at.connect()
            self._limits[at] = self._limiting(at)
        if name not in self._learned:
            self._learned[name] = Learned(name, at.provider, self._memory)
        connection, limits = self._connections[at], self._limits[at]
        return ChatClient(connection, target, settings, self._learned[name], limits, is_awaited=is_awaited)

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
        for limits in self._limits.values():
            await limits.close()
        for connection in self._connections.values():
            await connection.close()
