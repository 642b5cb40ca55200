"""One event loop in a thread of its own, on which all requests of a process to LLMs run.

The edges (Flask's threads, RQ's jobs, the shell) are synchronous: they hand work over and wait for what it gives. Loop
and connections are made on first use, so a server that loads the application and then forks has none to share.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any, TypeVar
from urllib.parse import urlsplit

import openai

from prelabel.config import Settings
from prelabel.core.rates import Rates
from prelabel.llm.batch_api import BatchClient
from prelabel.llm.budget import OwnBudget
from prelabel.llm.capabilities import Learned
from prelabel.llm.chat import ChatClient, Limits
from prelabel.llm.endpoint import Endpoint, Target, targets
from prelabel.llm.fallbacks import Cooldowns, Fallbacks
from prelabel.llm.limits import KeyLimits
from prelabel.llm.memory import Memory, NoMemory
from prelabel.llm.meter import Meter, NoMeter

T = TypeVar("T")
Limiting = Callable[[Endpoint], Limits]
"""Makes the limits of an endpoint, once a process and on its loop."""


def load() -> None:
    """Import what openai's client imports at its first request, for a process that forks others; none is made."""
    import_module("openai.resources.chat.completions.completions")


def own_limits(settings: Settings, endpoint: Endpoint) -> KeyLimits:
    """What a process that is by itself keeps to; ``LLM_RPM`` and ``LLM_TPM`` are about the main server alone."""
    return KeyLimits(settings.llm_concurrency, OwnBudget(rates_of(settings, endpoint)), is_awaited=False)


def rates_of(settings: Settings, endpoint: Endpoint) -> Rates:
    """What the settings say of a server's limits."""
    is_main = urlsplit(endpoint.base_url).netloc == urlsplit(settings.llm_url).netloc
    return Rates(settings.llm_rpm, settings.llm_tpm) if is_main else Rates()


class LLM:
    """The way from synchronous code to LLMs.

    :param concurrency: requests in flight at once at one server by one key, over all projects, in each process.
    :param memory: where what is learned of servers is kept for other processes.
    :param limiting: what holds requests back; by default ``concurrency`` and what the server asks for.
    :param meter: what counts requests; by default nothing does.
    """

    def __init__(
        self,
        concurrency: int,
        memory: Memory | None = None,
        limiting: Limiting | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._concurrency = concurrency
        self._memory = memory or NoMemory()
        self._limiting = limiting
        self._meter = meter or NoMeter()
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
        return process.wait(process.start(settings, work, is_awaited=is_awaited), timeout_s)

    def run_batches(
        self, settings: Settings, work: Callable[[BatchClient], Coroutine[Any, Any, T]], timeout_s: float
    ) -> T:
        """What ``work`` gives, called with the Batch API of the main model's provider.

        :raises LLMHasNoBatches: it has none.
        :raises LLMRefusesRequest: no LLM is configured.
        :raises TimeoutError: it took longer than ``timeout_s`` and was cancelled.
        """
        process = self._current()
        return process.wait(process.start_batches(settings, work), timeout_s)

    def keeps_to_limits(self, settings: Settings) -> bool:
        """Whether replies of all models that ``settings`` name keep to a request's limit, as far as is known here.

        It waits for nothing, and may be called on the loop.

        :raises LLMRefusesRequest: none is configured.
        """
        process = self._current()
        return all(process.keeps_to_limits(target) for target in targets(settings))

    def close(self) -> None:
        """Hang up, and end the loop; what still runs on it is left unfinished."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None and process.pid == os.getpid():
            process.close()

    def _current(self) -> "_Process":
        with self._lock:
            if self._process is None or self._process.pid != os.getpid():
                self._process = _Process(self._concurrency, self._memory, self._limiting, self._meter)
            return self._process


class _Process:
    """What one process has of its own: loop, and by endpoint its connections, limits and what is known of it."""

    def __init__(self, concurrency: int, memory: Memory, limiting: Limiting | None, meter: Meter) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._connections: dict[Endpoint, openai.AsyncOpenAI] = {}
        self._limits: dict[Endpoint, Limits] = {}
        self._learned: dict[str, Learned] = {}
        self._memory = memory
        self._meter = meter
        self._limiting = limiting or (lambda _: KeyLimits(concurrency, OwnBudget(Rates()), meter=meter))
        self._cooldowns = Cooldowns(memory)
        self._thread = threading.Thread(target=self.loop.run_forever, name="llm-loop", daemon=True)
        self._thread.start()

    def wait(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """What ``work`` gives, from another thread."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(timeout_s)
        finally:
            future.cancel()  # which is nothing if it is there

    async def start_batches(self, settings: Settings, work: Callable[[BatchClient], Coroutine[Any, Any, T]]) -> T:
        main = targets(settings)[0]
        live = self._client(main, settings, is_awaited=False)
        connection, learned = self._connections[main.endpoint], self._learned[main.server_name]
        return await work(BatchClient(connection, main, settings, learned, live))

    async def start(
        self, settings: Settings, work: Callable[[Fallbacks], Coroutine[Any, Any, T]], *, is_awaited: bool
    ) -> T:
        found = targets(settings)
        models = [self._client(target, settings, is_awaited=is_awaited) for target in found]
        return await work(Fallbacks(models, [target.account_name for target in found], self._cooldowns))

    def keeps_to_limits(self, target: Target) -> bool:
        learned = self._learned.get(target.server_name)
        return learned is not None and learned.now.is_limited

    def _client(self, target: Target, settings: Settings, *, is_awaited: bool) -> ChatClient:
        at, name = target.endpoint, target.server_name
        if at not in self._connections:
            self._connections[at] = at.connect()
            self._limits[at] = self._limiting(at)
        if name not in self._learned:
            self._learned[name] = Learned(name, at.provider, self._memory)
        connection, limits, learned = self._connections[at], self._limits[at], self._learned[name]
        return ChatClient(connection, target, settings, learned, limits, self._meter, is_awaited=is_awaited)

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
