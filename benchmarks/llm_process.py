"""The tests' fake LLM in a process of its own, so that prelabel does not share an interpreter with what it waits for.

It answers each ticket by itself, whatever stands beside it in a request, and counts what it is asked and what it
replies with OpenAI's tokenizer; its ``usage`` says the same. Speaks with its parent over a pipe: orders go in, the
tally of what was until then comes back.
"""

import json
import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any, Protocol

from benchmarks.classifier import Belief
from benchmarks.tokens import count_tokens, observed_schema_tokens, prompt_tokens
from tests.fakes.llm_faults import FaultMix
from tests.fakes.llm_moods import Mood
from tests.fakes.llm_policy import Verdict
from tests.fakes.llm_replies import Drop
from tests.fakes.llm_request import Asked
from tests.fakes.llm_server import Answer, FakeLLM

LENIENT = Mood(forms=("json_schema", "json_object", "text"))
"""OpenAI's own: every form that is asked for is followed."""
_START_S = 60


class Beliefs(Protocol):
    """What the server thinks of each text; goes to its process pickled. A mapping is one."""

    def __getitem__(self, text: str, /) -> Belief: ...


@dataclass(slots=True)
class Tally:
    """What arrived at the server and what it sent."""

    requests: int = 0
    """Faulty answers among them."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    schema_tokens: int = 0
    """By the rule that was observed at OpenAI; in ``prompt_tokens`` the schema counts in full."""
    statuses: Counter[int] = field(default_factory=Counter)
    """How many answers had which; 0 where the connection was dropped."""
    faults: Counter[str] = field(default_factory=Counter)
    """How often each kind was ordered."""
    forms: Counter[str] = field(default_factory=Counter)
    """How many requests asked for which type of ``response_format``."""
    most_at_once: int = 0
    seconds: float = 0.0
    """That requests took at the server, all together."""
    complaints: tuple[str, ...] = ()
    """What no server should be sent."""


@dataclass(frozen=True, slots=True)
class Orders:
    """How the server is to be from now on."""

    latency_s: float = 0.0
    """Of every answer."""
    token_s: float = 0.0
    """What each token of a reply takes besides."""
    faulty_share: float = 0.0
    """Of the requests, all kinds of ``tests/fakes/llm_faults.py`` mixed that pass by themselves."""
    draw: int = 0
    """Which of the possible mixes: the seed."""


class LLMProcess:
    """The parent's handle."""

    def __init__(self, pipe: Connection, url: str) -> None:
        self._pipe = pipe
        self.url = url
        """What ``OPENAI_BASE_URL`` is set to."""

    def order(self, orders: Orders) -> Tally:
        """What was until now; from now on it is as ``orders`` say."""
        self._pipe.send(orders)
        tally: Tally = self._pipe.recv()
        return tally


@contextmanager
def llm_process(beliefs: Beliefs) -> Iterator[LLMProcess]:
    """A server that answers tickets by their text.

    :raises SystemExit: it did not start.
    """
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=_serve, args=(its, beliefs), name="fake-llm", daemon=True)
    process.start()
    its.close()
    try:
        if not ours.poll(_START_S):
            raise SystemExit(f"the fake LLM did not start within {_START_S} s")
        yield LLMProcess(ours, ours.recv())
    finally:
        ours.close()
        process.join()


class CountingLLM(FakeLLM):
    """The fake LLM with its beliefs and a tally."""

    def __init__(self, beliefs: Beliefs) -> None:
        self._beliefs = beliefs
        self._token_s = 0.0
        self._tally = Tally()
        self._counting = Lock()
        super().__init__()

    def obey(self, orders: Orders) -> Tally:
        """What was until now."""
        with self._counting:
            tally, self._tally = self._tally, Tally()
        tally.most_at_once, tally.complaints = self.max_in_flight, tuple(self.complaints)
        tally.faults = self.faults.drawn if self.faults else Counter()
        self.reset()
        self.answer, self.mood = self._believe, LENIENT
        self.faults = FaultMix(orders.faulty_share, seed=orders.draw) if orders.faulty_share else None
        self.latency_s, self._token_s = orders.latency_s, orders.token_s
        return tally

    def respond(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | Drop:
        """As the fake LLM does, counted."""
        began = time.perf_counter()
        answer = super().respond(method, path, headers, body)
        self.history.clear()  # nobody reads it here, and a million tickets are asked about
        if method == "POST":
            sent = json.loads(body)
            used = _usage(sent, answer)
            self._generate(used.get("completion_tokens", 0), since=began)
            with self._counting:
                self._tally.seconds += time.perf_counter() - began
                self._count(sent, answer, used)
        return answer

    def _generate(self, tokens: int, *, since: float) -> None:
        """Take the time that so long a reply takes, counted from when its request came in."""
        if self._token_s:
            time.sleep(max(0.0, since + self.latency_s + self._token_s * tokens - time.perf_counter()))

    def _believe(self, text: str, _: Asked) -> Verdict:
        belief = self._beliefs[text]
        return Verdict((belief.label,), round(belief.confidence, 2), probability=belief.probability)

    def _count(self, sent: Mapping[str, Any], answer: Answer | Drop, used: Mapping[str, int]) -> None:
        status = 0 if isinstance(answer, Drop) else answer.status
        form = (sent.get("response_format") or {"type": "text"})["type"]
        self._tally.requests += 1
        self._tally.statuses[status] += 1
        self._tally.forms[form] += 1
        self._tally.prompt_tokens += used.get("prompt_tokens", 0)
        self._tally.completion_tokens += used.get("completion_tokens", 0)
        self._tally.schema_tokens += observed_schema_tokens(sent) if used else 0


def _usage(sent: Mapping[str, Any], answer: Answer | Drop) -> Mapping[str, int]:
    """What a completion costs, put into it as well; nothing where there is none."""
    if isinstance(answer, Drop) or isinstance(answer.body, str) or "usage" not in answer.body:
        return {}
    message = answer.body["choices"][0]["message"]
    prompt, completion = prompt_tokens(sent), count_tokens(message["content"] or message["refusal"] or "")
    usage: dict[str, int] = answer.body["usage"]
    usage.update(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)
    return usage


def _serve(pipe: Connection, beliefs: Beliefs) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's end is ours
    with CountingLLM(beliefs) as llm, suppress(EOFError):
        llm.obey(Orders())
        pipe.send(llm.url)
        while True:
            pipe.send(llm.obey(pipe.recv()))
