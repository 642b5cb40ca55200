"""How long ``/predict`` takes for 100 tickets in one request, against asking one by one.

    python -m benchmarks.predict [--tickets 100] [--latency 0.2] [--rounds 5]

Real gunicorn, real Redis, and an LLM server on this machine that takes a fixed time for every request. Both figures
come from the same run; only their ratio means anything on another machine.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import click
import requests

from tests.fakes.llm_server import FakeLLM
from tests.servers import free_port, gunicorn, redis_server

CONFIG = """
<View><Text name="text" value="$text"/>
<Choices name="intent" toName="text"><Choice value="refund"/><Choice value="shipping"/><Choice value="other"/></Choices>
</View>
"""
SETTINGS = {"OPENAI_API_KEY": "test-key", "WORKERS": "2", "LOG_LEVEL": "WARNING"}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tickets", type=int, default=100)
    options.add_argument("--latency", type=float, default=0.2, metavar="SECONDS", help="of each LLM request")
    options.add_argument("--rounds", type=int, default=5, help="of the request with all tickets; the median counts")
    chosen = options.parse_args()
    with redis_server() as store, FakeLLM() as llm:
        llm.latency_s = chosen.latency
        env = {**SETTINGS, "OPENAI_BASE_URL": llm.url, "REDIS_URL": store.url}
        with gunicorn({**env, "PORT": str(free_port())}) as server, requests.Session() as http:
            numbers = itertools.count()

            def ask(count: int) -> None:
                tasks = [{"id": n, "data": {"text": f"refund {n}"}} for n in itertools.islice(numbers, count)]
                body = {"project": "1.1", "label_config": CONFIG, "tasks": tasks}
                items = http.post(f"{server.url}/predict", json=body).json()["results"]
                if len(items) != count or not all(item.get("result") for item in items):
                    raise SystemExit(f"not all of {count} tickets were labelled")

            ask(1)
            one_by_one_s = sum(seconds(lambda: ask(1)) for _ in range(chosen.tickets))
            together_s = statistics.median(seconds(lambda: ask(chosen.tickets)) for _ in range(chosen.rounds))
    click.echo(f"{chosen.tickets} tickets, {chosen.latency:g} s per LLM request")
    click.echo(f"  one by one         {one_by_one_s:8.2f} s")
    click.echo(f"  in one /predict    {together_s:8.2f} s   (median of {chosen.rounds})")
    click.echo(f"  ratio              {one_by_one_s / together_s:8.1f}")


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
