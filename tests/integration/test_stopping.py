"""Stop signals: what is in hand is finished or put back, and then the process ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
import pytest
import redis
import requests
from rq import Queue, Retry
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from prelabel.runs.stopping import SAME_S
from tests.e2e.waiting import until
from tests.fakes.llm_server import FakeLLM
from tests.integration.conftest import PROJECT, TICKETS, labels_of, task
from tests.servers import REPOSITORY, Running, free_port, gunicorn, rq_worker

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
    until(lambda: job.get_status() == JobStatus.STARTED)


def work_horse(worker: Running) -> psutil.Process:
    """The process that does the worker's job; the worker's other child looks after what is to be done later."""
    children = psutil.Process(worker.pid).children
    return until(lambda: next((child for child in children() if os.getpgid(child.pid) == child.pid), None))


def stop(running: Running, within_s: float) -> None:
    """Ends the process as Docker does."""
    running.process.process.send_signal(signal.SIGTERM)
    ended(running, within_s)


def ended(running: Running, within_s: float) -> None:
    try:
        assert running.process.process.wait(within_s) == 0, running.log_tail()
    except subprocess.TimeoutExpired:
        pytest.fail(f"still there after {within_s} s:\n{running.log_tail()}")


def log_of(running: Running) -> str:
    return running.process.log.read_text("utf-8")


def test_an_idle_backend_ends_at_once_though_a_connection_is_kept(redis_url: str) -> None:
    with gunicorn({"PORT": str(free_port()), "REDIS_URL": redis_url}) as server, requests.Session() as kept:
        kept.trust_env = False
        assert kept.get(f"{server.url}/health", timeout=5).ok

        stop(server, IDLE_S)


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
        until(lambda: llm.history)

        is_waiting = not answer.done()
        stop(server, IDLE_S)

        (item,) = answer.result().json()["results"]
        assert (is_waiting, labels_of(item)) == (True, {"intent": ["refund"]})


def test_an_idle_worker_ends_at_once(redis_url: str) -> None:
    with rq_worker({"REDIS_URL": redis_url}) as worker:
        until(lambda: "cleaning registries" in log_of(worker))

        stop(worker, IDLE_S)


def test_a_job_that_is_nearly_done_is_finished(redis_url: str) -> None:
    with waiting_jobs(redis_url) as queue, rq_worker({"REDIS_URL": redis_url}) as worker:
        job = sleep(queue, 2)
        wait_until_started(job)

        stop(worker, IDLE_S)

        assert job.get_status() == JobStatus.FINISHED


def test_a_long_job_is_put_back_as_the_next_one_with_all_its_tries(redis_url: str) -> None:
    with waiting_jobs(redis_url) as queue, rq_worker({"REDIS_URL": redis_url}) as worker:
        long, behind = sleep(queue, 500), sleep(queue, 0)
        wait_until_started(long)

        stop(worker, BUSY_S)

        assert queue.job_ids == [long.id, behind.id]
        put_back = Job.fetch(long.id, queue.connection, serializer=JSONSerializer)
        assert (put_back.get_status(), put_back.retries_left) == (JobStatus.QUEUED, 4)
        assert queue.started_job_registry.get_job_ids() == []
        assert "Traceback" not in log_of(worker)


def test_a_second_signal_is_not_argued_with(redis_url: str) -> None:
    with waiting_jobs(redis_url) as queue, rq_worker({"REDIS_URL": redis_url}) as worker:
        job = sleep(queue, 500)
        wait_until_started(job)
        horse = work_horse(worker)
        worker.process.process.send_signal(signal.SIGTERM)
        time.sleep(SAME_S + 0.2)

        stop(worker, IDLE_S)

        assert f"killed horse pid {horse.pid}" in log_of(worker)
        assert queue.job_ids == [job.id]


def test_a_signal_that_comes_twice_at_once_is_one(redis_url: str) -> None:
    """As systemd sends it, and to all of a service's processes."""
    with waiting_jobs(redis_url) as queue, rq_worker({"REDIS_URL": redis_url}) as worker:
        job = sleep(queue, 3)
        wait_until_started(job)
        horse = work_horse(worker)
        for process in (worker.process.process, horse) * 2:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.05)

        ended(worker, IDLE_S)

        assert job.get_status() == JobStatus.FINISHED
        assert "killed horse" not in log_of(worker)


SIGNALLED_AT_BIRTH = """
import os, signal, redis
from rq.serializers import JSONSerializer
from prelabel.bootstrap import services
from prelabel.runs.worker import StoppableWorker

class Signalled(StoppableWorker):
    def setup_work_horse_signals(self):
        os.kill(os.getpid(), signal.SIGTERM)
        super().setup_work_horse_signals()

work = services()
client = redis.Redis.from_url(work.settings.redis_url)
Signalled([work.jobs.name], services=work, connection=client, serializer=JSONSerializer).work(burst=True, max_jobs=1)
"""


def test_a_signal_that_comes_while_the_work_horse_is_made_is_not_lost(redis_url: str) -> None:
    with waiting_jobs(redis_url) as queue:
        job = queue.enqueue("prelabel.runs.stopping.stopping.require_none", retry=Retry(max=4, interval=[2]))
        env = {"PATH": os.environ["PATH"], "REDIS_URL": redis_url}
        subprocess.run([sys.executable, "-c", SIGNALLED_AT_BIRTH], env=env, cwd=REPOSITORY, timeout=60, check=True)

        job.refresh()  # type: ignore[no-untyped-call]
        assert (job.get_status(), job.retries_left, queue.job_ids) == (JobStatus.QUEUED, 4, [job.id])
