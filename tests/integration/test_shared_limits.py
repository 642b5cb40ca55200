"""What an LLM's key allows, kept to by several processes together: real ones, with a real Redis and a strict server.

The first test takes a minute, since it is about a minute.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise

import pytest

from tests.asker import askers
from tests.fakes.llm_faults import FaultMix
from tests.fakes.llm_rate import SlidingWindow
from tests.fakes.llm_replies import Fault
from tests.fakes.llm_server import FakeLLM
from tests.servers import free_port, redis_server

NO_LIMIT = 10**9
START_S = 60.0
"""Within which processes have started, on a machine that does much else."""


@pytest.fixture
def arrivals(llm: FakeLLM) -> Iterator[SlidingWindow]:
    """When requests arrive at a server without limits."""
    llm.rate = SlidingWindow(NO_LIMIT, tells=False)
    yield llm.rate
    llm.rate = None


def env(llm: FakeLLM, redis_url: str, **settings: str) -> dict[str, str]:
    return {"OPENAI_API_KEY": llm.api_key, "OPENAI_BASE_URL": llm.url, "REDIS_URL": redis_url, **settings}


def wait_until(is_so: Callable[[], bool], within_s: float = START_S) -> None:
    ends = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < ends, f"not so within {within_s} s"
        time.sleep(0.02)


def per_second(times: list[float], start: float, end: float) -> float:
    return sum(start <= at < end for at in times) / (end - start)


def longest_gap(arrivals: SlidingWindow) -> float:
    times = tuple(arrivals.admitted)
    return max(later - earlier for earlier, later in pairwise(times))


def test_four_processes_use_a_minutes_limit_and_are_not_refused(llm: FakeLLM, redis_url: str) -> None:
    llm.rate = rate = SlidingWindow(600)
    llm.latency_s = 0.3

    with askers(4, 64, env(llm, redis_url, LLM_RPM="600")) as processes:
        said = [process.said() for process in processes]

    start = rate.admitted[0] + 1  # the first second has a burst
    used = sum(start <= at < start + 60 for at in rate.admitted)
    assert 0.95 * 600 <= used <= 600
    assert len(rate.refused) < 0.01 * len(rate.admitted)
    assert all(counts["labeled"] > 100 for counts in said)


def test_a_limit_is_learned_from_headers_by_all(llm: FakeLLM, redis_url: str) -> None:
    llm.rate = rate = SlidingWindow(240)
    llm.latency_s = 0.2

    with askers(2, 18, env(llm, redis_url)) as processes:
        said = [process.said() for process in processes]

    start = max(rate.admitted[0] + 4, rate.admitted[-1] - 12)
    assert 0.9 * 4 <= per_second(rate.admitted, start, start + 10) <= 4.1
    assert rate.refused == []
    assert all(counts["labeled"] > 10 for counts in said)


def test_a_429_holds_every_process_for_as_long_as_it_names_and_uses_up_no_retry(
    llm: FakeLLM, redis_url: str, arrivals: SlidingWindow
) -> None:
    llm.latency_s = 0.05

    with askers(2, 60, env(llm, redis_url, LLM_MAX_RETRIES="1", LLM_CONCURRENCY="4"), tickets=400) as processes:
        wait_until(lambda: both_ask(llm))
        llm.enqueue(*[Fault(429, {"retry-after-ms": "1600"})] * 3)
        wait_until(lambda: longest_gap(arrivals) > 1.3)
        llm.enqueue(*[Fault(429, {"retry-after": "3"})] * 3)
        said = [process.said() for process in processes]

    assert 2.7 < longest_gap(arrivals) < 4
    assert said == [{"labeled": 400}] * 2


def test_without_redis_each_keeps_to_its_share_and_with_it_they_share_again(
    llm: FakeLLM, arrivals: SlidingWindow
) -> None:
    port = free_port()
    with ExitStack() as stack:
        redis = ExitStack()
        server = redis.enter_context(redis_server(port=port))
        stack.callback(redis.close)
        both = stack.enter_context(askers(2, 60, env(llm, server.url, LLM_RPM="600")))
        wait_until(lambda: both_ask(llm))

        redis.close()
        both[0].kill()
        time.sleep(2.5)
        away = time.monotonic()
        time.sleep(5)
        with redis_server(port=port):
            time.sleep(2)
            back = time.monotonic()
            time.sleep(5)

    assert 4.2 <= per_second(arrivals.admitted, away, away + 5) <= 5.2
    assert 9 <= per_second(arrivals.admitted, back, back + 5) <= 10.5


def test_tokens_a_minute_hold_over_processes(llm: FakeLLM, redis_url: str, arrivals: SlidingWindow) -> None:
    llm.latency_s = 0.1
    tokens_a_minute = 90_000

    with askers(2, 14, env(llm, redis_url, LLM_TPM=str(tokens_a_minute))) as processes:
        for process in processes:
            process.said()

    asked = llm.history[-1]
    prompt_tokens = sum(len(message["content"]) for message in asked.messages) // 4
    start = max(arrivals.admitted[0] + 2, arrivals.admitted[-1] - 11)
    used = (prompt_tokens + 12) * per_second(arrivals.admitted, start, start + 10) * 60
    assert 0.85 * tokens_a_minute <= used <= 1.05 * tokens_a_minute


def both_ask(llm: FakeLLM, times: int = 5) -> bool:
    """Whether two processes have asked so often, by what their tickets tell: enough for each to have met the other."""
    asked = Counter(text.rpartition(" ")[2] for asked in tuple(llm.history) for text in asked.texts)
    return len(asked) == 2 and min(asked.values()) >= times


def test_what_failed_for_good_is_left_alone_by_the_next_process(llm: FakeLLM, redis_url: str) -> None:
    with FakeLLM() as other:
        other.api_key, other.models = "other-key", ("other",)
        llm.faults = FaultMix(1.0, ["quota"])
        more = {"OPENAI_FALLBACK_MODELS": f"other@{other.url}", "OPENAI_FALLBACK_API_KEYS": "other-key"}
        said, asked = [], []
        for _ in range(2):
            with askers(1, 20, env(llm, redis_url, **more), tickets=3) as [process]:
                said.append(process.said())
            asked.append((len(llm.history), len(other.history)))

        assert (said, asked) == ([{"labeled": 3}] * 2, [(3, 3), (3, 6)])
        assert {each.headers["authorization"] for each in other.history} == {"Bearer other-key"}
