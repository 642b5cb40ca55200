"""What every test may ask for: an empty Redis and an LLM server that answers as told."""

import signal
from collections.abc import Iterator

import hypothesis
import pytest
import redis

from tests.fakes.llm_server import FakeLLM
from tests.servers import redis_server


def pytest_configure() -> None:
    """SIGTERM ends a session as Ctrl-C does, so that the servers it started end with it; properties are not timed.

    A shell has what it puts into the background ignore Ctrl-C, and so would the programs that tests start.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    hypothesis.settings.register_profile("untimed", deadline=None)
    hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def redis_server_url() -> Iterator[str]:
    with redis_server() as server:
        yield server.url


@pytest.fixture
def redis_url(redis_server_url: str) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(redis_server_url) as connection:
        connection.flushall()
    return redis_server_url


@pytest.fixture(scope="session")
def llm_server() -> Iterator[FakeLLM]:
    with FakeLLM() as llm:
        yield llm


@pytest.fixture
def llm(llm_server: FakeLLM) -> FakeLLM:
    """An LLM server that has been asked nothing yet."""
    llm_server.reset()
    return llm_server
