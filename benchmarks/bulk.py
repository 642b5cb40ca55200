"""What a bulk run takes, against the least that its LLM and its Label Studio make it take.

    python -m benchmarks.bulk [--data DIR] [--tickets 10000] [--workers 2] [--json]
    python -m benchmarks.bulk --memory-efficient-import     Label Studio with the flag of that name
    python -m benchmarks.bulk --compare-workers             one worker against two, where the LLM is the limit
    python -m benchmarks.bulk --studio-growth               what a larger project makes Label Studio take
    python -m benchmarks.bulk --fake-studio --tickets 1000000 --latency 0.02 --token-latency 0

Real workers, a real Redis and a real Label Studio of its own (SQLite); the LLM is a server on this machine, in a
process of its own, that takes 0.2 s for every request and 5 ms for every token of its reply. Tickets and labels are
BANKING77's, train and test, where it is found; beyond its 13,083 they come again with a number behind them.

The floor is the least that the run could take: its requests, with all slots of all workers full from the first moment
to the last, or one listing and one import of all tasks, whichever is longer, and one import after that. Listing and
import are measured in the same Label Studio right after the run, in another project of the same tasks. The plain loop
asks about one ticket after another and stores each prediction by itself, as Label Studio's own LLM example does; it is
measured on 200 tickets and extrapolated.
"""

import argparse
import json
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import click
import requests

from benchmarks import banking77
from benchmarks.banking77 import Banking77
from benchmarks.classifier import Belief
from benchmarks.llm_process import LLMProcess, Orders, Tally, llm_process
from benchmarks.studios import STUDIO_TIMEOUT_S, RealStudio, Studio, Tickets, open_studio
from benchmarks.watching import Memory, Stages, bytes_kept, memory_of, watched
from prelabel.bootstrap import Services, build
from prelabel.config import Settings
from prelabel.core.types import Labeled
from prelabel.runs import control
from prelabel.store.keys import ProjectRef
from prelabel.store.run import Run, RunOptions
from prelabel.studio.client import StudioClient
from prelabel.studio.label_config import parse_label_config
from prelabel.studio.predictions import batch_item
from tests.servers import redis_server, rq_worker

CONCURRENCY = 32
GROWTH = (10_000, 30_000, 100_000)
INTENTS = ("refund", "shipping", "login", "invoice", "cancellation", "complaint", "address change", "other")


@dataclass(frozen=True, slots=True)
class ByChecksum:
    """What the LLM thinks of a text: always the same, and nothing to be read from it."""

    labels: tuple[str, ...]

    def __getitem__(self, text: str) -> Belief:
        number = zlib.crc32(text.encode())
        return Belief(self.labels[number % len(self.labels)], number % 1000 / 1000)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run."""

    workers: int
    stages: Stages
    run: Run
    tally: Tally
    memory: Memory
    kept: Mapping[str, int]
    """Bytes of Redis, by what they are for."""

    @property
    def bytes_per_task(self) -> float:
        """Of what a run leaves; kept answers go by themselves."""
        return (self.kept["ledger"] + self.kept["predicted"]) / max(1, self.run.done)


@dataclass(frozen=True, slots=True)
class Floor:
    """The least that a run could take, in seconds."""

    asking: float
    listing: float
    one_import: float

    @property
    def whole(self) -> float:
        return max(self.asking, self.listing + self.one_import) + self.one_import


def main() -> None:
    chosen = _options().parse_args()
    data = Banking77.read(chosen.data) if (chosen.data / "train.csv").is_file() else None
    labels = tuple(data.labels) if data else INTENTS
    queries = [*data.train, *data.test] if data else []
    texts = tuple(dict.fromkeys(query.text.strip() for query in queries)) or ("Please help me with my order",)
    config = data.label_config if data else _config(labels)
    tickets = Tickets(texts)
    told: dict[str, Any] = {"tickets": chosen.tickets, "latency_s": chosen.latency, "token_s": chosen.token_latency}
    where = {"is_fake": chosen.fake_studio, "with_flag": chosen.memory_efficient_import}
    with llm_process(ByChecksum(labels)) as llm, open_studio(config, tickets, chosen.tickets, **where) as studio:
        bench = Bench(llm, studio, Orders(chosen.latency, chosen.token_latency))
        if chosen.compare_workers:
            told |= bench.compare()
        elif chosen.studio_growth and isinstance(studio, RealStudio):
            told = {f"{count}_tasks_s": studio.grown(count) for count in GROWTH}
        else:
            measured = bench.run(chosen.workers)
            told |= _told(measured)
            if isinstance(studio, RealStudio):
                floor = bench.floor(measured, studio)
                told |= _against(measured, floor)
                if sample := min(chosen.loop_tickets, chosen.tickets):
                    told |= _against_loop(measured, bench.loop(studio, sample), sample, chosen.tickets)
    click.echo(json.dumps(told, indent=1) if chosen.json else "\n".join(_lines(told)))


class Bench:
    def __init__(self, llm: LLMProcess, studio: Studio, orders: Orders) -> None:
        self._llm = llm
        self._studio = studio
        self._orders = orders

    def run(self, workers: int) -> Measured:
        """A run of a new project, with a Redis and workers of its own."""
        project = self._studio.project()
        with ExitStack() as stack:
            redis = stack.enter_context(redis_server())
            env = self._env(redis.url)
            pids = [stack.enter_context(rq_worker(env)).pid for _ in range(workers)]
            work = stack.enter_context(_services(env))
            memory = stack.enter_context(memory_of(pids))
            self._llm.order(self._orders)
            began = time.monotonic()
            run = control.start(work, RunOptions(project))
            stages, ended = watched(work.runs, run.id, began)
            tally = self._llm.order(Orders())
            kept = bytes_kept(work.redis, run.id)
        for complaint in tally.complaints:  # where its machine is overloaded, it is hung up on, too
            click.echo(f"the LLM's server was sent what it should not be: {complaint}", err=True)
        if lacking := self._studio.lacking(project):
            raise SystemExit(f"{lacking} tasks have not one prediction")
        return Measured(workers, stages, ended, tally, memory, kept)

    def compare(self) -> dict[str, Any]:
        """One worker against two on the same load."""
        one, two = self.run(1), self.run(2)
        told = {f"with_{each.workers}_workers_s": round(each.stages.whole, 2) for each in (one, two)}
        return {**told, "two_to_one": round(two.stages.whole / one.stages.whole, 3)}

    def floor(self, measured: Measured, studio: RealStudio) -> Floor:
        """The least that this run could have taken."""
        project = studio.project()
        client = StudioClient(studio.url, studio.token, STUDIO_TIMEOUT_S)
        config = parse_label_config(studio.label_config)
        question = config.questions[0]
        began = time.monotonic()
        tasks = [task["id"] for task in client.tasks_between(project, 1, 10**9, without=None)]
        listed = time.monotonic()
        outcome = Labeled({question.name: (question.labels[0].value,)}, 0.9)
        item = batch_item(outcome, config, measured.run.model_version)
        client.import_predictions(project, [{"task": task, **item} for task in tasks])
        imported = time.monotonic()
        tally = measured.tally
        latency_s = self._orders.latency_s + self._orders.token_s * tally.completion_tokens / tally.requests
        asking_s = tally.requests * latency_s / (measured.workers * CONCURRENCY)
        return Floor(asking_s, listed - began, imported - listed)

    def loop(self, studio: RealStudio, count: int) -> float:
        """Seconds for so many tickets, one after another."""
        project = studio.project()
        tasks = [{"id": row["id"], "data": row["data"]} for row in studio.api.tasks(project)[:count]]
        single = {"LLM_TASKS_PER_REQUEST": "1", "LLM_CONCURRENCY": "1", "ANSWER_CACHE_DAYS": "0"}
        with redis_server() as redis, _services({**self._env(redis.url), **single}) as work:
            opened = work.service.open(ProjectRef(project), studio.label_config)
            self._llm.order(self._orders)
            began = time.monotonic()
            for task in tasks:
                (outcome,) = work.labeler.label_tasks(opened, [task], deadline_s=60)
                row = {"task": task["id"], **batch_item(outcome, opened.config, opened.version)}
                headers = {"Authorization": f"Token {studio.token}"}
                requests.post(
                    f"{studio.url}/api/predictions/", json=row, headers=headers, timeout=60
                ).raise_for_status()
            taken_s = time.monotonic() - began
        self._llm.order(Orders())
        return taken_s

    def _env(self, redis_url: str) -> dict[str, str]:
        llm = {"OPENAI_API_KEY": "test-key", "OPENAI_BASE_URL": self._llm.url, "LLM_CONCURRENCY": str(CONCURRENCY)}
        studio = {"LABEL_STUDIO_URL": self._studio.url, "LABEL_STUDIO_API_KEY": self._studio.token}
        return {**llm, **studio, "REDIS_URL": redis_url, "LOG_LEVEL": "INFO"}


@contextmanager
def _services(env: Mapping[str, str]) -> Iterator[Services]:
    work = build(Settings.from_env(env))
    try:
        yield work
    finally:
        work.close()


def _config(labels: Sequence[str]) -> str:
    choices = "".join(f'<Choice value="{label}"/>' for label in labels)
    return f'<View><Text name="text" value="$text"/><Choices name="intent" toName="text">{choices}</Choices></View>'


def _told(measured: Measured) -> dict[str, Any]:
    run, tally, memory = measured.run, measured.tally, measured.memory
    peaks = {"worker": memory.workers, "work_horse": memory.horses}
    return {
        "workers": measured.workers,
        "run_s": round(measured.stages.whole, 2),
        "stages_s": {name: round(seconds, 2) for name, seconds in asdict(measured.stages).items()},
        "tickets_a_second": round(run.done / measured.stages.whole, 1),
        "requests": tally.requests,
        "mean_request_s": round(tally.seconds / max(1, tally.requests), 3),
        "complaints_of_llm": len(tally.complaints),
        "prompt_tokens": tally.prompt_tokens,
        "completion_tokens": tally.completion_tokens,
        **{f"{name}_rss_mb": round(peak.rss, 1) for name, peak in peaks.items()},
        **{f"{name}_uss_mb": round(peak.uss, 1) for name, peak in peaks.items()},
        "redis_bytes_per_task": round(measured.bytes_per_task, 1),
        "redis_bytes_of": {name: round(size / max(1, run.done), 1) for name, size in measured.kept.items()},
    }


def _against(measured: Measured, floor: Floor) -> dict[str, Any]:
    return {
        "floor_s": round(floor.whole, 2),
        "floor_of_s": {name: round(seconds, 2) for name, seconds in asdict(floor).items()},
        "run_to_floor": round(measured.stages.whole / floor.whole, 3),
    }


def _against_loop(measured: Measured, loop_s: float, sample: int, tickets: int) -> dict[str, Any]:
    extrapolated_s = loop_s * tickets / sample
    return {
        "loop_of_s": {f"{sample}_tickets": round(loop_s, 2), "all_extrapolated": round(extrapolated_s, 1)},
        "loop_to_run_extrapolated": round(extrapolated_s / measured.stages.whole, 1),
    }


def _lines(told: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for name, value in told.items():
        if isinstance(value, Mapping):
            yield f"{indent}{name}"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{name:<{28 - len(indent)}}{value}"


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    banking77.add_option(options)
    options.add_argument("--tickets", type=int, default=10_000, help="[%(default)s]")
    options.add_argument("--workers", type=int, default=2, help="[%(default)s]")
    options.add_argument("--latency", type=float, default=0.2, metavar="SECONDS", help="of each LLM request [0.2]")
    options.add_argument(
        "--token-latency", type=float, default=0.005, metavar="SECONDS", help="of each token of a reply [0.005]"
    )
    options.add_argument("--loop-tickets", type=int, default=200, help="of the plain loop, 0 for none [%(default)s]")
    options.add_argument("--memory-efficient-import", action="store_true", help="Label Studio's flag for imports")
    options.add_argument("--fake-studio", action="store_true", help="a fast Label Studio in memory, for large runs")
    options.add_argument("--compare-workers", action="store_true", help="one worker against two, and nothing else")
    options.add_argument("--studio-growth", action="store_true", help="Label Studio alone, with ever more tasks")
    options.add_argument("--json", action="store_true", help="for programs")
    return options


if __name__ == "__main__":
    main()
