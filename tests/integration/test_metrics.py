"""What Prometheus is told: of gunicorn's processes together, of workers elsewhere, and without Redis."""

import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import psutil
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from model import PrelabelModel
from prelabel.bootstrap import Services, build
from prelabel.config import Settings
from prelabel.metrics.exposition import Exposition
from prelabel.runs import control
from prelabel.store.counts import Counts, Figures
from prelabel.store.keys import ProjectRef
from prelabel.store.run import RunOptions
from prelabel.web.app import create_app
from tests.e2e.waiting import until
from tests.fakes.llm_policy import Verdict, by_words
from tests.fakes.llm_replies import Fault, Refusal
from tests.fakes.llm_request import Asked
from tests.fakes.llm_server import FakeLLM
from tests.fakes.studio_server import FakeLabelStudio
from tests.integration.conftest import PROJECT, TICKETS, Backend, Start, annotation, task
from tests.integration.project_seven import environment, project_seven
from tests.servers import REPOSITORY, Running, free_port, gunicorn, redis_server, rq_worker

README = (REPOSITORY / "README.md").read_text("utf-8")
WITHIN_S = 3.0
"""What an answer without Redis may take on a machine that is busy."""

Metrics = dict[str, float]


def read(text: str) -> Metrics:
    """Each figure by its name with its labels, as Prometheus' own parser reads them."""
    return {
        f"{sample.name}{{{','.join(f'{name}={value}' for name, value in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def whole(scrape: Callable[[], Metrics]) -> Metrics:
    """With what Redis knows, which may take longer than is waited for on a machine that is busy."""
    return until(lambda: metrics if (metrics := scrape())["prelabel_redis_up{}"] else None)


def scraped(backend: Backend) -> Metrics:
    def scrape() -> Metrics:
        reply = backend.http.get("/metrics")
        assert (reply.status_code, reply.content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
        return read(reply.text)

    return whole(scrape)


def nonzero(metrics: Metrics, pattern: str) -> Metrics:
    return {name: value for name, value in metrics.items() if value and re.match(pattern, name)}


# gunicorn's processes


class Served:
    """A backend under gunicorn."""

    def __init__(self, server: Running, http: requests.Session) -> None:
        self.server = server
        self._http = http

    def predict(self, *tasks: object) -> int:
        body = {"project": PROJECT, "label_config": TICKETS, "tasks": list(tasks)}
        # A connection of its own, so that any of the workers may take it.
        headers = {"Connection": "close"}
        return self._http.post(f"{self.server.url}/predict", json=body, headers=headers, timeout=30).status_code

    def scrape(self) -> Metrics:
        reply = self._http.get(f"{self.server.url}/metrics", headers={"Connection": "close"}, timeout=10)
        assert reply.status_code == 200, reply.text
        return read(reply.text)

    def files(self) -> set[Path]:
        """Where its workers count, of those that have."""
        found: set[Path] = set()
        for worker in psutil.Process(self.server.pid).children():
            found |= {Path(row.path) for row in worker.memory_maps() if f"/counter_{worker.pid}.db" in row.path}
        return found


@pytest.fixture
def serve(llm: FakeLLM) -> Iterator[Callable[..., Served]]:
    with ExitStack() as stack:

        def serve(redis_url: str, **settings: str) -> Served:
            env = {"OPENAI_API_KEY": llm.api_key, "OPENAI_BASE_URL": llm.url, "REDIS_URL": redis_url, **settings}
            server = stack.enter_context(gunicorn({"PORT": str(free_port()), **env}))
            http = stack.enter_context(requests.Session())
            http.trust_env = False
            return Served(server, http)

        yield serve


def test_counts_add_up_over_processes_and_outlive_them(
    serve: Callable[..., Served], redis_url: str, llm: FakeLLM
) -> None:
    llm.latency_s = 0.1
    served = serve(redis_url, WORKERS="2", LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="2", ANSWER_CACHE_DAYS="0")
    asked = 0
    with ThreadPoolExecutor(8) as callers:
        while len(files := served.files()) < 2:
            assert set(callers.map(served.predict, [task(number, "refund") for number in range(8)])) == {200}
            asked += 8

        before = whole(served.scrape)
        assert nonzero(before, "prelabel_predict_tasks") == {"prelabel_predict_tasks_total{outcome=labeled}": asked}
        assert before["prelabel_predict_seconds_count{kind=single}"] == asked
        assert before["prelabel_llm_requests_total{result=ok,role=backend}"] == asked == len(llm.history)
        assert before["prelabel_llm_request_seconds_sum{role=backend}"] >= 0.1 * asked
        tokens = before["prelabel_llm_prompt_tokens_total{role=backend}"]
        tokens += 2 * before["prelabel_llm_completion_tokens_total{role=backend}"]
        assert before["prelabel_llm_dollars_total{role=backend}"] == pytest.approx(tokens / 1e6)

        llm.latency_s = 20
        hanging = [callers.submit(served.predict, task(number, "refund")) for number in (1, 2)]
        in_flight = "prelabel_llm_requests_in_flight{role=backend}"
        until(lambda: served.scrape()[in_flight] == 2)
        for worker in psutil.Process(served.server.pid).children():
            worker.kill()
        until(lambda: len(psutil.Process(served.server.pid).children()) == 2)
        assert [isinstance(each.exception(30), requests.ConnectionError) for each in hanging] == [True, True]

    llm.latency_s = 0
    until(lambda: served.scrape()[in_flight] == 0)
    after = whole(served.scrape)
    assert after | {in_flight: 0.0} == before
    assert served.predict(task(1, "refund")) == 200
    assert served.scrape()["prelabel_predict_tasks_total{outcome=labeled}"] == asked + 1
    (directory,) = {file.parent for file in files}
    assert directory.stat().st_mode & 0o777 == 0o700


def test_nothing_is_left_of_the_files_when_the_backend_ends(redis_url: str) -> None:
    with gunicorn({"PORT": str(free_port()), "REDIS_URL": redis_url, "WORKERS": "1"}) as server:
        (worker,) = until(lambda: psutil.Process(server.pid).children())
        files = until(lambda: [Path(row.path) for row in worker.memory_maps() if "/prelabel-metrics-" in row.path])
        server.process.process.terminate()
        server.process.process.wait(20)

        assert [file.parent for file in files if file.parent.exists()] == []


def test_without_redis_the_backends_own_come_all_the_same(serve: Callable[..., Served]) -> None:
    served = serve(f"redis://127.0.0.1:{free_port()}/0", WORKERS="2")
    assert served.predict(task(1, "refund"), task(2, "refund")) == 200

    began = time.monotonic()
    metrics = served.scrape()

    assert time.monotonic() - began < WITHIN_S
    assert nonzero(metrics, "prelabel_predict_tasks") == {"prelabel_predict_tasks_total{outcome=failed}": 2}
    assert metrics["prelabel_redis_up{}"] == 0
    assert [name for name in metrics if "role=worker" in name or name.startswith(("prelabel_run", "prelabel_q"))] == []


def test_a_redis_that_says_nothing_is_waited_for_a_second(serve: Callable[..., Served]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        served = serve(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", WORKERS="1")
        for _ in range(3):
            began = time.monotonic()

            assert served.scrape()["prelabel_redis_up{}"] == 0
            assert time.monotonic() - began < WITHIN_S


class Slow(Counts):
    """Answers within a socket's timeout each time, and again and again."""

    def __init__(self, hurry: Event) -> None:
        self._hurry = hurry

    def read(self) -> Figures:
        self._hurry.wait(20)
        return Figures({}, {})


def test_a_redis_that_is_slow_at_every_step_is_waited_for_a_second(backend: Backend) -> None:
    hurry, began = Event(), time.monotonic()
    work = backend.work

    text = Exposition(work.measures, Slow(hurry), work.runs, work.jobs).text().decode()

    assert time.monotonic() - began < WITHIN_S
    assert read(text)["prelabel_redis_up{}"] == 0
    hurry.set()


def test_a_backend_that_reads_its_configuration_again_forgets_nothing(
    serve: Callable[..., Served], redis_url: str
) -> None:
    served = serve(redis_url, WORKERS="1")
    assert served.predict(task(1, "refund")) == 200
    (before,) = psutil.Process(served.server.pid).children()

    served.server.process.process.send_signal(signal.SIGHUP)
    until(lambda: not before.is_running())
    assert served.predict(task(1, "refund")) == 200

    assert served.scrape()["prelabel_predict_tasks_total{outcome=labeled}"] == 2


# what is counted


def test_what_predict_answers_is_counted_by_outcome(start: Start, llm: FakeLLM) -> None:
    backend = start(PREDICT_DEADLINE_SINGLE="0.5", LLM_TASKS_PER_REQUEST="1", LLM_MAX_RETRIES="0")
    ref = ProjectRef.parse(PROJECT)
    backend.setup()
    backend.work.projects.withhold(ref, [4])
    llm.enqueue(Fault(503))
    backend.predict(task(1, "refund"))
    backend.predict(task(2, "refund"), task(3, ""), task(4, "shipping"), "no task")
    backend.prompted("ALWAYS other", task(5, "refund"))
    llm.latency_s = 2
    backend.predict(task(6, "a parcel"))

    metrics = scraped(backend)

    assert nonzero(metrics, "prelabel_predict_tasks") == {
        "prelabel_predict_tasks_total{outcome=labeled}": 2,
        "prelabel_predict_tasks_total{outcome=abstained}": 1,
        "prelabel_predict_tasks_total{outcome=withheld}": 1,
        "prelabel_predict_tasks_total{outcome=failed}": 2,
        "prelabel_predict_tasks_total{outcome=not_reached}": 1,
    }
    assert nonzero(metrics, "prelabel_predict_seconds_count") == {
        "prelabel_predict_seconds_count{kind=single}": 2,
        "prelabel_predict_seconds_count{kind=batch}": 1,
        "prelabel_predict_seconds_count{kind=interactive}": 1,
    }
    assert nonzero(metrics, "prelabel_llm_requests") == {
        "prelabel_llm_requests_total{result=ok,role=backend}": 2,
        "prelabel_llm_requests_total{result=unavailable,role=backend}": 1,
        "prelabel_llm_requests_total{result=cancelled,role=backend}": 1,
    }
    assert metrics["prelabel_llm_unpriced_requests_total{role=backend}"] == 2


def test_what_is_turned_away_is_counted(start: Start, llm: FakeLLM) -> None:
    backend = start(THREADS="1")
    backend.setup()
    llm.latency_s = 5
    with ThreadPoolExecutor() as callers:
        first = callers.submit(backend.predict, task(1, "refund"))
        until(lambda: llm.history)
        again = Backend(backend.work, backend.http.application.test_client())
        assert again.predict(task(2, "refund"), task(3, "refund")) == [{}, {}]
        metrics = scraped(again)
        llm.reset()
        first.result(20)

    assert metrics["prelabel_predict_declined_total{}"] == 1
    assert metrics["prelabel_predict_tasks_total{outcome=not_reached}"] == 2
    assert metrics["prelabel_llm_requests_in_flight{role=backend}"] == 1


def test_refusals_pauses_and_the_cache_are_counted(start: Start, llm: FakeLLM) -> None:
    backend = start()
    backend.setup()
    llm.enqueue(Fault(429, {"retry-after-ms": "300"}))
    backend.predict(task(1, "refund"))
    backend.predict(task(2, "refund"))
    llm.enqueue(Fault(401))
    backend.predict(task(3, "a parcel"))
    llm.enqueue(Refusal("no"))
    backend.predict(task(4, "something else"))

    metrics = scraped(backend)

    assert nonzero(metrics, "prelabel_llm_requests|prelabel_answer|prelabel_llm_pauses") == {
        "prelabel_llm_requests_total{result=ok,role=backend}": 2,
        "prelabel_llm_requests_total{result=rate_limited,role=backend}": 1,
        "prelabel_llm_requests_total{result=refused,role=backend}": 1,
        "prelabel_llm_pauses_total{role=backend}": 1,
        "prelabel_answer_cache_lookups_total{result=hit,role=backend}": 1,
        "prelabel_answer_cache_lookups_total{result=miss,role=backend}": 3,
    }
    assert metrics["prelabel_llm_pause_seconds_total{role=backend}"] == pytest.approx(0.3, abs=0.1)


def test_events_are_counted_by_a_fixed_set_of_names(backend: Backend) -> None:
    backend.setup()
    backend.event("ANNOTATION_CREATED", annotation=annotation(1, "other"), task=task(1, "my secret ticket"))
    backend.event("TASKS_CREATED")
    backend.event("an event that somebody thought up")

    assert nonzero(scraped(backend), "prelabel_webhook") == {
        "prelabel_webhook_events_total{action=ANNOTATION_CREATED}": 1,
        "prelabel_webhook_events_total{action=other}": 2,
    }
    assert "thought up" not in backend.http.get("/metrics").text


# workers and runs

IN_FLIGHT = "prelabel_llm_requests_in_flight{role=worker}"
LABELED = "prelabel_run_tasks_total{outcome=labeled}"
TOLD = "prelabel_(run_tasks|llm_requests_total|llm_.*_tokens|llm_dollars|llm_.*_count)"


class FirstPage:
    """A policy that answers the first 500 tasks, and the others once it is opened."""

    def __init__(self) -> None:
        self._opened = Event()
        self.open = self._opened.set

    def __call__(self, text: str, asked: Asked) -> Verdict:
        assert int(text.rsplit(maxsplit=1)[-1]) <= 3 * 500 or self._opened.wait(60)
        return by_words(text, asked)


@pytest.fixture
def site(redis_url: str, llm: FakeLLM) -> Iterator[tuple[Services, FakeLabelStudio, dict[str, str]]]:
    """A backend's services, its Label Studio with project 7, and the settings of its workers."""
    with FakeLabelStudio() as studio:
        studio.projects[7] = project_seven()
        env = environment(studio, llm, redis_url, LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="2")
        work = build(Settings.from_env(env))
        yield work, studio, env
        work.close()


def test_runs_and_what_workers_count_are_told_by_the_backend(
    site: tuple[Services, FakeLabelStudio, dict[str, str]], llm: FakeLLM
) -> None:
    work, studio, env = site
    backend = Backend(work, create_app(PrelabelModel, work).test_client())
    studio.tasks.add(620)
    run = control.start(work, RunOptions(7))
    assert nonzero(scraped(backend), "prelabel_(runs|queue|workers|run)") == {
        "prelabel_runs{state=queued}": 1,
        "prelabel_queue_jobs{state=waiting}": 1,
    }

    llm.answer = pages = FirstPage()
    with rq_worker(env):
        going = until(lambda: seen if (seen := scraped(backend))[IN_FLIGHT] == 12 and seen[LABELED] == 500 else None)
        pages.open()
        until(lambda: work.runs.get(run.id).finished_at)
        until(lambda: scraped(backend)["prelabel_workers{state=idle}"])

    over = scraped(backend)
    kept = work.runs.get(run.id)
    assert going["prelabel_workers{state=busy}"] == going["prelabel_queue_jobs{state=started}"] == 1
    assert going["prelabel_runs{state=running}"] == 1
    assert going["prelabel_run_planned_tasks{project=7}"] == 620
    assert going["prelabel_run_answered_tasks{project=7}"] == going[LABELED] == 500
    assert going["prelabel_run_done_tasks{outcome=labeled,project=7}"] == 0
    assert going["prelabel_run_cost_dollars{project=7}"] > 0
    assert nonzero(over, "prelabel_(runs|queue|workers|run_[^t]|llm_requests_in)") == {}
    assert nonzero(over, TOLD) == {
        LABELED: 620,
        "prelabel_llm_requests_total{result=ok,role=worker}": kept.counts["requests"],
        "prelabel_llm_request_seconds_count{role=worker}": kept.counts["requests"],
        "prelabel_llm_prompt_tokens_total{role=worker}": kept.counts["prompt_tokens"],
        "prelabel_llm_completion_tokens_total{role=worker}": kept.counts["completion_tokens"],
        "prelabel_llm_dollars_total{role=worker}": pytest.approx(kept.cost),
    }


def test_what_a_killed_worker_has_told_stays_and_what_it_was_doing_does_not(
    site: tuple[Services, FakeLabelStudio, dict[str, str]], llm: FakeLLM
) -> None:
    work, studio, env = site
    backend = Backend(work, create_app(PrelabelModel, work).test_client())
    studio.tasks.add(620)
    run = control.start(work, RunOptions(7))
    llm.answer = pages = FirstPage()
    with rq_worker(env) as worker:
        before = until(lambda: seen if (seen := scraped(backend))[IN_FLIGHT] == 12 and seen[LABELED] else None)
        for process in (*psutil.Process(worker.pid).children(recursive=True), psutil.Process(worker.pid)):
            process.kill()

    until(lambda: scraped(backend)[IN_FLIGHT] == 0, within_s=20)
    after = scraped(backend)
    pages.open()

    assert nonzero(after, TOLD) == nonzero(before, TOLD)
    assert after[LABELED] == 500
    assert work.runs.get(run.id).state == "running"


def test_redis_restarted_empty_is_no_reason_to_forget_what_a_worker_has_counted_since(start: Start) -> None:
    with redis_server() as server:
        backend = start(REDIS_URL=server.url)
        backend.work.counts.add("one", {'["prelabel_llm_pauses_total", {}]': 2.0}, {})
        backend.work.redis.flushall()
        backend.work.counts.add("one", {'["prelabel_llm_pauses_total", {}]': 1.0, "of an older release": 5.0}, {})

        metrics = scraped(backend)

    assert nonzero(metrics, ".*role=worker") == {"prelabel_llm_pauses_total{role=worker}": 1}


# who may ask, and what is told of it


def test_the_password_is_asked_for_where_there_is_one(start: Start) -> None:
    http = start(BASIC_AUTH_USER="prometheus", BASIC_AUTH_PASS="pass").http

    assert http.get("/metrics").status_code == 401
    assert http.get("/metrics", auth=("prometheus", "wrong")).status_code == 401
    assert http.get("/metrics", auth=("prometheus", "pass")).status_code == 200


def test_the_readme_tells_of_every_metric_and_of_no_other(backend: Backend) -> None:
    shown = set(re.findall(r"^# TYPE (\S+) \S+$", backend.http.get("/metrics").text, re.M))
    told = re.findall(r"^\| `(prelabel_\w+)`", README, re.M)

    assert sorted(told) == sorted(shown)


def test_the_readme_tells_of_every_label(backend: Backend) -> None:
    families = list(text_string_to_metric_families(backend.http.get("/metrics").text))
    told = dict(re.findall(r"^\| `(prelabel_\w+)`((?:, `\w+`)*) \|", README, re.M))

    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        if family.samples:
            assert set(re.findall(r"`(\w+)`", told[name])) == labels, name
