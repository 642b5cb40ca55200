"""What the engine costs and gains: many tickets a request against one, many requests at once against one by one.

    python -m benchmarks.engine [--data DIR] [--tickets 2000] [--latency 0.2] [--faults 0.2]

BANKING77's 77 labels; the real way of every ticket (``bootstrap``, ``Labeler``, a real Redis, HTTP) in pages as a bulk
run has them; no examples, so that what is counted is the format. The LLM is a server on this machine, in a process of
its own, that takes a fixed time for every request and answers each ticket by itself with a pinned classifier; in the
last part a share of its replies goes wrong, in every way that passes by itself. Tokens are OpenAI's
(``benchmarks/tokens.py`` says what is counted). All figures come from one run; on another machine only their ratios
mean anything, except for tokens, requests and accuracy, which are the same everywhere.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import click

from benchmarks import banking77
from benchmarks.banking77 import Banking77, Query
from benchmarks.classifier import Classifier
from benchmarks.llm_process import LLMProcess, Orders, Tally, llm_process
from prelabel.bootstrap import build, configure_logging
from prelabel.config import Settings
from prelabel.core.types import Abstained, Failed, Labeled, Outcome
from prelabel.labeling import Labeler
from prelabel.project import Project
from prelabel.store.keys import ProjectRef
from prelabel.store.ledger import SHARD_TASKS
from tests.servers import redis_server

IMPATIENT = {"LLM_TIMEOUT": "1"}
"""So that the fake's hang, two seconds, is one."""
ONE_AT_A_TIME = {"LLM_TASKS_PER_REQUEST": "1", "LLM_CONCURRENCY": "1"}
LOOP_TICKETS = 200
"""Of the loop of one request after another, which would take minutes for all."""
DEADLINE_S = 3600.0
PEERS = {"Label Studio's example llm_interactive": 497, "Adala": 549, "a plain prototype, ten tickets a request": 83}
"""Prompt tokens per ticket with these 77 labels, as the issue that asked for this benchmark states them."""


@dataclass(frozen=True, slots=True)
class Part:
    """One way of asking about the tickets, and what came of it."""

    name: str
    tickets: Sequence[Query]
    outcomes: Sequence[Outcome]
    seconds: float
    tally: Tally

    def per_ticket(self, count: int) -> float:
        return count / len(self.tickets)

    @property
    def speed(self) -> float:
        """Tickets a second."""
        return len(self.tickets) / self.seconds

    @property
    def labels(self) -> list[str | None]:
        """For each ticket its label, None where it got none."""
        return [_label(outcome) for outcome in self.outcomes]

    @property
    def accuracy(self) -> float:
        """Of all tickets; one without a label is not right."""
        right = sum(label == ticket.label for label, ticket in zip(self.labels, self.tickets, strict=True))
        return right / len(self.tickets)

    def share(self, kind: type[Outcome]) -> float:
        return sum(isinstance(outcome, kind) for outcome in self.outcomes) / len(self.outcomes)

    def line(self) -> str:
        tally = self.tally
        counts = (tally.requests, tally.prompt_tokens, tally.completion_tokens)
        requests, prompt, completion = (self.per_ticket(count) for count in counts)
        return (
            f"  {self.name:<40}{requests:9.3f}{prompt:9.1f}{completion:12.1f}{self.speed:11.1f}"
            f"{self.share(Labeled):10.1%}{self.share(Abstained):11.1%}{self.accuracy:10.1%}"
        )


class Bench:
    """The two servers, and how a part is run on them."""

    def __init__(self, llm: LLMProcess, redis_url: str, data: Banking77) -> None:
        self._llm = llm
        self._redis_url = redis_url
        self._config = data.label_config

    def run(self, name: str, tickets: Sequence[Query], orders: Orders, own: Mapping[str, str], page: int) -> Part:
        """A part from nothing: an empty Redis, nothing known of the server.

        :param own: settings beside the defaults.
        :param page: how many tickets are labelled in one call.
        """
        settings = self._settings(own)
        configure_logging(settings)
        services = build(settings)
        services.redis.flushdb()
        try:
            project = services.service.open(ProjectRef(1), self._config)
            self._llm.order(orders)
            started = time.perf_counter()
            outcomes = _label_all(services.labeler, project, name, tickets, page)
            seconds = time.perf_counter() - started
            tally = self._llm.order(Orders())
        finally:
            services.close()
        if tally.complaints:
            raise SystemExit(f"the LLM's server was sent what it should not be: {tally.complaints[0]}")
        return Part(name, tickets, outcomes, seconds, tally)

    def _settings(self, own: Mapping[str, str]) -> Settings:
        env = {"OPENAI_API_KEY": "test-key", "OPENAI_BASE_URL": self._llm.url, "REDIS_URL": self._redis_url}
        return Settings.from_env({**env, "LOG_LEVEL": "ERROR", **own})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    banking77.add_option(options)
    options.add_argument("--tickets", type=int, default=2000, help="of test.csv, drawn at random [%(default)s]")
    options.add_argument("--latency", type=float, default=0.2, metavar="SECONDS", help="of each LLM request [0.2]")
    options.add_argument("--faults", type=float, default=0.2, metavar="SHARE", help="of the last part [%(default)s]")
    options.add_argument("--draws", type=int, default=3, help="runs of the last part, of other faults [%(default)s]")
    chosen = options.parse_args()
    data = Banking77.read(chosen.data)
    tickets = data.draw(chosen.tickets)
    click.echo("fitting the classifier that answers ...", err=True)
    texts = [ticket.text.strip() for ticket in tickets]
    beliefs = dict(zip(texts, Classifier(data).beliefs(texts), strict=True))
    with redis_server() as redis, llm_process(beliefs) as llm:
        bench, orders = Bench(llm, redis.url, data), Orders(chosen.latency)
        many = bench.run("defaults", tickets, orders, {}, SHARD_TASKS)
        single = bench.run("one ticket per request", tickets, orders, {"LLM_TASKS_PER_REQUEST": "1"}, SHARD_TASKS)
        loop = bench.run("one request after another", tickets[:LOOP_TICKETS], orders, ONE_AT_A_TIME, 1)
        name, spoilt = f"defaults, {chosen.faults:.0%} faulty replies", replace(orders, faulty_share=chosen.faults)
        mixes = [replace(spoilt, draw=draw) for draw in range(chosen.draws)]
        faulty = [bench.run(f"{name}, {mix.draw + 1}", tickets, mix, IMPATIENT, SHARD_TASKS) for mix in mixes]
    _show(chosen.latency, many, single, loop, faulty)


def _label_all(labeler: Labeler, project: Project, name: str, tickets: Sequence[Query], page: int) -> list[Outcome]:
    tasks = [{"id": number, "data": {"text": ticket.text}} for number, ticket in enumerate(tickets, 1)]
    outcomes: list[Outcome] = []
    with click.progressbar(length=len(tasks), label=f"{name:<26}", file=sys.stderr) as progress:
        for start in range(0, len(tasks), page):
            asked = tasks[start : start + page]
            outcomes += labeler.label_tasks(project, asked, deadline_s=DEADLINE_S)
            progress.update(len(asked))
    return outcomes


def _label(outcome: Outcome) -> str | None:
    return next(iter(outcome.labels["intent"])) if isinstance(outcome, Labeled) else None


def _show(latency_s: float, many: Part, single: Part, loop: Part, faulty: Sequence[Part]) -> None:
    count, sample = len(many.tickets), len(loop.tickets)
    click.echo(f"BANKING77, 77 labels, {count} tickets, {latency_s:g} s per LLM request; per ticket:\n")
    heads = (f"{'':<42}{'requests':>9}{'prompt':>9}{'completion':>12}{'tickets':>11}", " labelled  abstained  accuracy")
    click.echo(f"{heads[0]}{heads[1]}\n{'':<42}{'':>9}{'tokens':>9}{'tokens':>12}{'a second':>11}")
    for part in (many, single, loop, *faulty):
        click.echo(part.line())
    click.echo(
        f"\n  One request after another is of {sample} tickets: all {count} would take {count / loop.speed:.0f} s."
    )
    as_alone = sum(a == b for a, b in zip(many.labels, single.labels, strict=True))
    billed = single.tally.schema_tokens / single.tally.requests
    click.echo(f"  Of the prompt the schema, by what was observed at OpenAI: {billed:.0f} tokens a request.")
    click.echo("\nDefaults against")
    click.echo(
        f"  one ticket per request       {_times(single, many, 'requests')} the requests, "
        f"{_times(single, many, 'prompt_tokens')} the prompt tokens, {many.speed / single.speed:.1f} times as fast, "
        f"accuracy {many.accuracy - single.accuracy:+.2%}, same label for {as_alone / count:.1%}"
    )
    click.echo(f"  one request after another    {many.speed / loop.speed:.1f} times as fast")
    click.echo("\nFaulty replies against the clean run")
    for part in faulty:
        _show_faults(many, part)
    click.echo("\nPrompt tokens per ticket of others, as stated in this project's issues, not measured here:")
    for peer, tokens in PEERS.items():
        click.echo(f"  {peer:<42}{tokens:5}")


def _show_faults(clean: Part, faulty: Part) -> None:
    pairs = list(zip(clean.labels, faulty.labels, strict=True))
    otherwise = sum(after is not None and after != before for before, after in pairs)
    lost = sum(after is None and before is not None for before, after in pairs)
    tally = faulty.tally
    labelled, abstained, failed = (faulty.share(kind) for kind in (Labeled, Abstained, Failed))
    click.echo(
        f"  {tally.faults.total()} of {tally.requests} requests faulty: labelled {labelled:.2%}, abstained "
        f"{abstained:.2%}, failed {failed:.2%}; {otherwise} labelled otherwise, {lost} no more; "
        f"{tally.requests / clean.tally.requests:.2f} times the requests"
    )
    click.echo(f"    {_listed(tally.faults)}; asked for {_listed(tally.forms)}")


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _times(other: Part, ours: Part, figure: str) -> str:
    """``1/10.0``: our share of the other's."""
    per_ticket = [part.per_ticket(getattr(part.tally, figure)) for part in (other, ours)]
    return f"1/{per_ticket[0] / per_ticket[1]:.1f}"


if __name__ == "__main__":
    main()
