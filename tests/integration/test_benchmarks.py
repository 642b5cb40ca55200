"""The benchmarks run; what they measure is asserted nowhere."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.tokens import count_tokens, observed_schema_tokens, prompt_tokens
from tests.servers import REPOSITORY

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


def test_the_engine_benchmark_runs_on_any_labelled_tickets(tmp_path: Path) -> None:
    rows = [(f"{word} number {number}", word) for word in ("refund", "parcel", "login") for number in range(6)]
    write(tmp_path / "train.csv", rows)
    write(tmp_path / "test.csv", rows)
    options = ["--data", str(tmp_path), "--tickets", "12", "--latency", "0", "--draws", "1"]

    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.engine", *options],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert "one ticket per request" in ended.stdout


def test_the_bulk_benchmark_runs_with_a_label_studio_in_memory(tmp_path: Path) -> None:
    options = ["--fake-studio", "--tickets", "1200", "--latency", "0", "--token-latency", "0", "--json"]

    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.bulk", *options, "--data", str(tmp_path)],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert (told["requests"], told["redis_bytes_per_task"] <= 200) == (120, True)


def test_tokens_are_those_of_gpt_4o() -> None:
    assert [count_tokens(text) for text in ("", "hello world", "Überweisung", "<|endoftext|>")] == [0, 2, 2, 7]


def test_a_request_costs_its_messages_and_its_schema() -> None:
    messages = [{"role": "system", "content": "hello world"}, {"role": "user", "content": "hello"}]
    strict = {"type": "json_schema", "json_schema": {"name": "answers", "strict": True, "schema": SCHEMA}}
    bare, constrained = {"messages": messages}, {"messages": messages, "response_format": strict}
    billed = '{"type":"object","properties":{"a":{"type":"integer"}}}'

    assert prompt_tokens(bare) == 3 + 1 + 2 + 3 + 1 + 1 + 3
    assert observed_schema_tokens(constrained) == 9 + count_tokens(billed)
    assert prompt_tokens(constrained) > prompt_tokens(bare) + observed_schema_tokens(constrained)


def write(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "category"), *rows])
