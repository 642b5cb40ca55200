"""Tries prelabel at a real OpenAI-compatible server that somebody else wrote, whatever its model is worth.

    python -m benchmarks.foreign_server --url http://127.0.0.1:8000/v1 [--model tiny] [--tickets 20]

The sample tickets go to the server by way of ``/predict`` (gunicorn, Redis), all in one request and one by one, and of
``prelabel file``. Looked at are the answers (HTTP 200, an item for every ticket, no label but the config's, none where
there is no score), prelabel's log (no traceback), and at the door to the server what was asked in which form and what
it answered. Exit status 1 if anything of ours was wrong. ``docs/servers.md`` says how servers are set up, and what came
of it.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import redis
import requests

from benchmarks.onlooker import Onlooker, onlooker
from prelabel.store.keys import LLM_MEMORY
from prelabel.studio.label_config import parse_label_config
from tests.servers import REPOSITORY, free_port, gunicorn, redis_server

CONFIG = REPOSITORY / "examples" / "tickets.xml"
TICKETS = REPOSITORY / "examples" / "tickets.csv"
LONGEST_TRIAL_S = 900

Items = Sequence[Mapping[str, Any]]


@dataclass(slots=True)
class Trial:
    """The server to be tried as prelabel knows it, and what was found wrong."""

    env: Mapping[str, str]
    tickets: Sequence[str]
    labels: frozenset[str]
    door: Onlooker
    faults: list[str] = field(default_factory=list)

    def predict(self, name: str, store: str, size: int) -> None:
        """All tickets by ``/predict``, so many a request, each process of prelabel knowing nothing before."""
        self.door.forget()
        env = {**self.env, "REDIS_URL": store, "PORT": str(free_port())}
        items: list[Mapping[str, Any]] = []
        with gunicorn(env) as server:
            for start in range(0, len(self.tickets), size):
                asked = self.tickets[start : start + size]
                tasks = [{"id": n, "data": {"text": text}} for n, text in enumerate(asked, start + 1)]
                body = {"project": "1.1", "label_config": CONFIG.read_text("utf-8"), "tasks": tasks}
                answer = requests.post(f"{server.url}/predict", json=body, timeout=LONGEST_TRIAL_S)
                if answer.status_code != 200:
                    self.faults.append(f"{name}: HTTP {answer.status_code}")
                    continue
                items += answer.json()["results"]
            self._look_at_log(name, server.process.log_tail(10_000))
        self._look_at(name, items)

    def file(self, name: str) -> None:
        """All tickets by ``prelabel file``."""
        self.door.forget()
        with TemporaryDirectory() as home:
            source, out = Path(home) / "tickets.csv", Path(home) / "out.json"
            with source.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([["text"], *([text] for text in self.tickets)])
            command = [sys.executable, "-m", "prelabel", "file", str(source)]
            ended = subprocess.run(  # noqa: S603  our own command
                [*command, "--config", str(CONFIG), "--out", str(out), "--label-column", "", "--json"],
                env={"PATH": os.environ["PATH"], "HOME": home, **self.env},
                cwd=REPOSITORY,
                capture_output=True,
                text=True,
                timeout=LONGEST_TRIAL_S,
                check=False,
            )
            self._look_at_log(name, ended.stderr)
            if ended.returncode not in {0, 1} or not out.is_file():
                self.faults.append(f"{name}: exit status {ended.returncode}: {ended.stderr}")
                return
            tasks = json.loads(out.read_text("utf-8"))
            self._look_at(name, [each["predictions"][0] if each["predictions"] else {} for each in tasks])
            for error in json.loads(ended.stdout)["errors"]:
                click.echo(f"  {error['count']} without an answer: {error['reason']}")

    def _look_at(self, name: str, items: Items) -> None:
        outcomes = Counter(map(self._outcome, items))
        if len(items) != len(self.tickets):
            self.faults.append(f"{name}: {len(items)} items for {len(self.tickets)} tickets")
        self.faults += [
            f"{name}: {outcome}" for outcome in outcomes if outcome not in {"labelled", "abstained", "failed"}
        ]
        click.echo(f"{name}: {', '.join(f'{count} {outcome}' for outcome, count in outcomes.items())}")
        for (form, status), count in sorted(self.door.seen.items()):
            click.echo(f"  {count} requests asked for {form}, answered {status}")

    def _look_at_log(self, name: str, log: str) -> None:
        if "Traceback" in log:
            self.faults.append(f"{name}: a traceback in prelabel's log:\n{log}")

    def _outcome(self, item: Mapping[str, Any]) -> str:
        """``labelled``, ``abstained``, ``failed``, or what is wrong with it."""
        if not item:
            return "failed"
        regions = [region for region in item["result"] if region["type"] == "choices"]
        foreign = {choice for region in regions for choice in region["value"]["choices"]} - self.labels
        score = item["score"]
        if foreign:
            return f"the label {foreign.pop()!r}, which the config has not"
        if not isinstance(score, int | float) or not 0 <= score <= 1:
            return f"the score {score!r}"
        return "labelled" if regions else "abstained" if score == 0 else f"no label, and a score of {score}"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--url", required=True, help="what OPENAI_BASE_URL would be set to")
    options.add_argument("--model", default="tiny", help="what OPENAI_MODEL would be set to [%(default)s]")
    options.add_argument("--key", default="none", help="what OPENAI_API_KEY would be set to")
    options.add_argument("--tickets", type=int, default=20, help="of the sample tickets [%(default)s]")
    options.add_argument("--timeout", default="60", metavar="SECONDS", help="what LLM_TIMEOUT would be [%(default)s]")
    chosen = options.parse_args()
    config = parse_label_config(CONFIG.read_text("utf-8"), "prompt")
    labels = frozenset(label.value for question in config.questions for label in question.labels)
    with redis_server() as store, onlooker(chosen.url) as door:
        env = {"OPENAI_BASE_URL": door.url, "OPENAI_MODEL": chosen.model, "OPENAI_API_KEY": chosen.key}
        trial = Trial({**env, "LLM_TIMEOUT": chosen.timeout}, _tickets(chosen.tickets), labels, door)
        for name, size in (("/predict, all at once", chosen.tickets), ("/predict, one by one", 1)):
            trial.predict(name, store.url, size)
            with _redis(store.url) as client:
                for key in client.scan_iter(f"{LLM_MEMORY}:*"):
                    click.echo(f"  learned: {client.get(key)!r}")
                client.flushdb()
        trial.file("file")
    for fault in trial.faults:
        click.echo(f"WRONG: {fault}", err=True)
    sys.exit(1 if trial.faults else 0)


@contextmanager
def _redis(url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        yield client


def _tickets(count: int) -> list[str]:
    with TICKETS.open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)][:count]


if __name__ == "__main__":
    main()
