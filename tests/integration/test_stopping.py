"""Stop signals: what is in hand is finished or put back, and then the process ends."""

import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import redis
import requests
from rq import Queue, Retry
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from tests.fakes.llm_server import FakeLLM
from tests.integration.conftest import PROJECT, TICKETS, labels_of, task
from tests.servers import Running, free_port, gunicorn, rq_worker

IDLE_S = 10
"""How long a process with nothing to do may take to end."""
BUSY_S = 15
"""A worker whose job is not nearly over: it gets five seconds."""


@contextmanager
def waiting_jobs(redis_url: str) -> Iterator[Queue]:
    with redis.Redis.from_url(redis_url) as connection:
        yield Queue("prelabel:-", connection=connection, serializer=JSONSerializer)


def sleep(queue: Queue, seconds: float) -> Job:
    return queue.enqueue("time.sleep", seconds, retry=Retry(max=4, interval=[2]), result_ttl=60, job_timeout=600)


def wait_until_started(job: Job) -> None:
    while job.get_status() != JobStatus.STARTED:
        time.sleep(0.05)
    time.sleep(0.3)


def stopped_in(running: Running, within_s: float) -> float:
    """Ends the process as Docker does, and how many seconds that took."""
    began = time.monotonic()
    running.process.process.send_signal(signal.SIGTERM)
    try:
        assert running.process.process.wait(within_s) == 0, running.log_tail()
    except subprocess.TimeoutExpired:
        pytest.fail(f"still there after {within_s} s:\n{running.log_tail()}")
    return time.monotonic() - began


def test_an_idle_backend_ends_at_once_though_a_connection_is_kept(redis_url: str) -> None:
    with gunicorn({"PORT": str(free_port()), "REDIS_URL": redis_url}) as server, requests.Session() as kept:
        kept.trust_env = False
        assert kept.get(f"{server.url}/health", timeout=5).ok

        stopped_in(server, IDLE_S)


def test_a_request_in_flight_is_answered_before_the_backend_ends(redis_url: str, llm: FakeLLM) -> None:
    llm.latency_s = 2
    llm_settings = {"OPENAI_API_KEY": llm.api_key, "OPENAI_BASE_URL": llm.url}
    body = {"project": PROJECT, "label_config": TICKETS, "tasks": [task(1, "a refund please")]}
    with (
        gunicorn({"PORT": str(free_port()), "REDIS_URL": redis_url, "WORKERS": "1", **llm_settings}) as server,
        ThreadPoolExecutor() as callers,
        requests.Session() as http,
    ):
        http.trust_env = False
        answer = callers.submit(http.post, f"{server.url}/predict", json=body, timeout=30)
        while not llm.history:
            time.sleep(0.05)

        took_s = stopped_in(server, IDLE_S)

        (item,) = answer.result().json()["results"]
        assert labels_of(item) == {"intent": ["refund"]}
        assert took_s > 1


def test_an_idle_worker_ends_at_once(redis_url: str) -> None:
    with rq_worker({"REDIS_URL": redis_url}) as worker:
        while "cleaning registries" not in worker.process.log.read_text("utf-8"):
            time.sleep(0.05)

        stopped_in(worker, IDLE_S)


def test_a_job_that_is_nearly_done_is_finished(redis_url: str) -> None:
    with waiting_jobs(redis_url) as queue, rq_worker({"REDIS_URL": redis_url}) as worker:
        job = sleep(queue, 2)
        wait_until_started(job)

        stopped_in(worker, IDLE_S)

        assert job.get_status() == JobStatus.FINISHED


def test_a_long_job_is_put_back_as_the_next_one_with_all_its_tries(redis_url: str) -> None:
    with waiting_jobs(redis_url) as queue, rq_worker({"REDIS_URL": redis_url}) as worker:
        long, behind = sleep(queue, 500), sleep(queue, 0)
        wait_until_started(long)

        stopped_in(worker, BUSY_S)

        assert queue.job_ids == [long.id, behind.id]
        put_back = Job.fetch(long.id, queue.connection, serializer=JSONSerializer)
        assert (put_back.get_status(), put_back.retries_left) == (JobStatus.QUEUED, 4)
        assert queue.started_job_registry.get_job_ids() == []
        assert "Traceback" not in worker.process.log.read_text("utf-8")


def test_a_second_signal_is_not_argued_with(redis_url: str) -> None:
    with waiting_jobs(redis_url) as queue, rq_worker({"REDIS_URL": redis_url}) as worker:
        job = sleep(queue, 500)
        wait_until_started(job)
        worker.process.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)

        assert stopped_in(worker, IDLE_S) < 4
        assert queue.job_ids == [job.id]
