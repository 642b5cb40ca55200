"""``file``: from what people have to what Label Studio imports, with the real OpenAI client and nothing else."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from prelabel.files.command import file_command
from tests.fakes.llm_faults import FaultMix
from tests.fakes.llm_policy import Verdict
from tests.fakes.llm_replies import Fault
from tests.fakes.llm_server import FakeLLM

CONFIG = """<View><Text name="text" value="$text"/><Choices name="intent" toName="text">
<Choice value="refund"/><Choice value="shipping"/><Choice value="other"/></Choices></View>"""
LABELS = ("refund", "shipping", "other")


@dataclass(frozen=True, slots=True)
class Shell:
    """The command in a directory of its own, with a fake LLM."""

    directory: Path
    env: dict[str, str]

    def write(self, name: str, content: str) -> None:
        (self.directory / name).write_text(content, "utf-8")

    def run(self, source: str, *options: str, stdin: str | None = None, **env: str) -> Result:
        """To ``out.json``, with the setting that ``env`` names changed; an empty one is unset."""
        given = {**self.env, **env}
        return CliRunner().invoke(file_command, self._arguments(source, options), env=given, input=stdin)

    def start(self, source: str, *options: str, **env: str) -> "subprocess.Popen[str]":
        """The same in a process of its own."""
        program = "from prelabel.files.command import file_command; file_command()"
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, *self._arguments(source, options)],
            env={"PATH": os.environ["PATH"], **self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def tasks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((self.directory / "out.json").read_text("utf-8"))
        return found

    @property
    def files(self) -> set[str]:
        """What the command has left behind."""
        return {path.name for path in self.directory.glob("out.json*")}

    def _arguments(self, source: str, options: Sequence[str]) -> list[str]:
        path = source if source == "-" else str(self.directory / source)
        config = str(self.directory / "config.xml")
        return [path, "--config", config, "--out", str(self.directory / "out.json"), *options]


@pytest.fixture
def shell(tmp_path: Path, llm: FakeLLM, monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in os.environ:
        if name.startswith(("OPENAI_", "LLM_", "LABEL_STUDIO_", "DEFAULT_PROMPT")):
            monkeypatch.delenv(name)
    shell = Shell(tmp_path, {"OPENAI_API_KEY": llm.api_key, "OPENAI_BASE_URL": llm.url, "LLM_CONCURRENCY": "4"})
    shell.write("config.xml", CONFIG)
    return shell


def table(count: int, reviewed: int = 0) -> str:
    """A table of tickets of each label in turn, the first of which are reviewed."""
    written = StringIO()
    writer = csv.writer(written)
    writer.writerow(["text", "intent"])
    for number in range(count):
        label = LABELS[number % len(LABELS)]
        writer.writerow([text(number), label if number < reviewed else ""])
    return written.getvalue()


def text(number: int) -> str:
    return f"ticket {number}: please, a {LABELS[number % len(LABELS)]}"


def labels(tasks: Sequence[dict[str, Any]], of: str = "predictions") -> list[str | None]:
    """What the first prediction (or annotation) of each task says, None where there is none."""
    found = [task[of][0]["result"] if task.get(of) else [] for task in tasks]
    return [result[0]["value"]["choices"][0] if result else None for result in found]


def asked(llm: FakeLLM) -> list[str]:
    return [text for request in llm.history for text in request.texts]


@pytest.mark.parametrize("name", ["tickets.csv", "tickets.json", "tickets.jsonl"])
def test_a_file_becomes_tasks_with_predictions(shell: Shell, name: str) -> None:
    rows = [{"text": text(number), "channel": "Mail, übrigens"} for number in range(3)]
    written = {
        "tickets.csv": "text;channel\n" + "".join(f'"{row["text"]}";"{row["channel"]}"\n' for row in rows),
        "tickets.json": json.dumps(rows),
        "tickets.jsonl": "".join(json.dumps({"data": row}) + "\n" for row in rows),
    }
    shell.write(name, written[name])

    result = shell.run(name)
    tasks = shell.tasks()

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("3 rows: 0 reviewed, 3 labeled, 0 abstained, 0 failed, 0 malformed\n")
    assert [task["data"] for task in tasks] == rows
    assert labels(tasks) == ["refund", "shipping", "other"]
    [prediction] = tasks[0]["predictions"]
    [region] = prediction["result"]
    assert set(tasks[0]) == {"data", "predictions"}
    assert set(prediction) == {"result", "score", "model_version"}
    assert 0 < prediction["score"] <= 1
    assert prediction["model_version"].startswith("gpt-4o-mini-p0-g1-")
    assert {**region, "id": ""} == {
        "id": "",
        "from_name": "intent",
        "to_name": "text",
        "type": "choices",
        "value": {"choices": ["refund"]},
    }
    assert shell.files == {"out.json"}


def test_standard_input_is_read_too(shell: Shell) -> None:
    result = shell.run("-", stdin=table(2))

    assert result.exit_code == 0
    assert labels(shell.tasks()) == ["refund", "shipping"]


def test_reviewed_rows_are_passed_on_and_are_examples_for_the_others(shell: Shell, llm: FakeLLM) -> None:
    shell.write("tickets.csv", "text,intent\nI want a refund,other\nI want a refund!,\nno more,shipping\n")
    llm.answer = lambda _, request: Verdict(("other",)) if len(request.examples) == 2 else Verdict()

    result = shell.run("tickets.csv")
    tasks = shell.tasks()

    assert result.exit_code == 0
    assert labels(tasks, "annotations") == ["other", None, "shipping"]
    assert labels(tasks) == [None, "other", None]
    assert asked(llm) == ["I want a refund!"]
    assert [task["data"]["intent"] for task in tasks] == ["other", "", "shipping"]


def test_examples_can_be_left_out(shell: Shell, llm: FakeLLM) -> None:
    shell.write("tickets.csv", table(5, reviewed=3))

    assert shell.run("tickets.csv", FEW_SHOT_EXAMPLES="0").exit_code == 0
    assert not any(request.examples for request in llm.history)


def test_a_label_column_can_be_left_alone(shell: Shell, llm: FakeLLM) -> None:
    shell.write("tickets.csv", table(3, reviewed=3))

    result = shell.run("tickets.csv", "--label-column", "")

    assert result.exit_code == 0
    assert len(asked(llm)) == 3
    assert labels(shell.tasks()) == ["refund", "shipping", "other"]


def test_a_malformed_row_is_named_with_its_line_and_the_rest_is_done(shell: Shell) -> None:
    shell.write("tickets.csv", 'text,intent\n"a\nrefund",\ntoo,many,fields\na refund,refnd\nshipping please,\n')

    result = shell.run("tickets.csv")
    path = shell.directory / "tickets.csv"

    assert result.exit_code == 1
    assert result.stderr.splitlines()[:2] == [
        f"{path}: line 4 (row 2) is left out: it has 3 fields, the header has 2",
        f"{path}: line 5 (row 3) is left out: its 'intent' is \"refnd\", which is not one of the config's labels",
    ]
    assert labels(shell.tasks()) == ["refund", "shipping"]


def test_what_the_llm_has_no_label_for_is_an_empty_prediction(shell: Shell, llm: FakeLLM) -> None:
    shell.write("tickets.csv", "text,id\nhello,1\n,2\n")
    llm.answer = lambda *_: Verdict()

    result = shell.run("tickets.csv")

    assert result.exit_code == 0
    version = shell.tasks()[0]["predictions"][0]["model_version"]
    assert [task["predictions"] for task in shell.tasks()] == [
        [{"result": [], "score": 0.0, "model_version": version}]
    ] * 2


def test_programs_get_an_object_that_adds_up(shell: Shell, llm: FakeLLM) -> None:
    shell.write("tickets.csv", table(5, reviewed=2) + "too,many,fields\n")

    result = shell.run("tickets.csv", "--json", LLM_PRICE_INPUT="2", LLM_PRICE_OUTPUT="10")
    summary = json.loads(result.stdout)

    version = summary.pop("model_version")
    cost, per_task = summary.pop("cost"), summary.pop("cost_per_task")
    tokens = summary.pop("prompt_tokens"), summary.pop("completion_tokens")
    assert summary == {
        "out": str(shell.directory / "out.json"),
        "total": 6,
        "reviewed": 2,
        "labeled": 3,
        "abstained": 0,
        "failed": 0,
        "malformed": 1,
        "known": 0,
        "is_written": True,
        "requests": len(llm.history),
        "cached_tokens": 0,
        "from_cache": 0,
        "escalation_cost": 0.0,
        "stages": {"llm": 3},
        "errors": [{"reason": "it has 3 fields, the header has 2", "count": 1, "lines": [7]}],
    }
    assert version.startswith("gpt-4o-mini")
    assert all(tokens)
    assert cost == pytest.approx((tokens[0] * 2 + tokens[1] * 10) / 1e6)
    assert per_task == pytest.approx(cost / 3)


@pytest.mark.parametrize(
    ("prices", "told"),
    [
        ({}, r"1 requests, \d+ prompt tokens \(0 cached\), \d+ in replies, cost unknown\n"),
        ({"LLM_PRICE_INPUT": "2", "LLM_PRICE_OUTPUT": "10"}, r".*, cost \$0\.0\d+ \(\$0\.0\d+ a row\)\n"),
    ],
)
def test_people_are_told_what_it_has_cost_or_that_nobody_knows(shell: Shell, prices: dict[str, str], told: str) -> None:
    shell.write("tickets.csv", table(3))

    result = shell.run("tickets.csv", **prices)

    assert re.fullmatch(told, result.stdout.splitlines(keepends=True)[1])


def test_of_rows_with_the_same_data_one_is_asked_about(shell: Shell, llm: FakeLLM) -> None:
    shell.write("tickets.csv", "text\n" + "a refund\n" * 3)

    assert shell.run("tickets.csv").exit_code == 0
    assert asked(llm) == ["a refund"]
    assert labels(shell.tasks()) == ["refund"] * 3


def test_an_llm_that_is_down_leaves_tasks_without_prediction_and_the_next_call_asks_about_them(
    shell: Shell, llm: FakeLLM
) -> None:
    shell.write("tickets.csv", table(3))
    llm.enqueue(Fault(503))

    failed = shell.run("tickets.csv", LLM_MAX_RETRIES="0", LLM_TASKS_PER_REQUEST="2", LLM_CONCURRENCY="1")
    after_failure = shell.tasks()
    again = shell.run("tickets.csv")

    assert (failed.exit_code, again.exit_code) == (1, 0)
    assert "2 without an answer: the LLM's server answered 503" in failed.stderr
    assert after_failure[:2] == [{"data": {"text": text(number), "intent": ""}} for number in range(2)]
    assert labels(after_failure) == [None, None, "other"]
    assert labels(shell.tasks()) == list(LABELS)
    assert asked(llm).count(text(2)) == 1
    assert "(1 answered earlier)" in again.stdout


def test_a_wrong_key_stops_it_at_once_with_the_reason(shell: Shell, llm: FakeLLM) -> None:
    shell.write("tickets.csv", table(500))

    result = shell.run("tickets.csv", "--json", OPENAI_API_KEY="wrong")

    assert result.exit_code == 1
    [error] = json.loads(result.stdout)["errors"]
    assert error["reason"].endswith("check OPENAI_API_KEY and what it may use")
    assert (error["count"], error["lines"]) == (500, list(range(2, 12)))
    assert len(llm.complaints) <= 20


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("quota", "answered 429 (insufficient_quota): the account's quota or balance is used up"),
        ("401", "answered 401 (invalid_api_key): check OPENAI_API_KEY and what it may use"),
        ("403", "answered 403 (invalid_request_error): check OPENAI_API_KEY and what it may use"),
        ("unknown model", "answered 404 (model_not_found): check OPENAI_MODEL=gpt-4o-mini and OPENAI_BASE_URL"),
    ],
)
def test_it_stops_with_the_reason_when_no_model_is_left(shell: Shell, llm: FakeLLM, kind: str, reason: str) -> None:
    shell.write("tickets.csv", table(500))
    llm.faults = FaultMix(1.0, [kind])

    result = shell.run("tickets.csv", "--json", OPENAI_FALLBACK_MODELS="gpt-4o")

    assert result.exit_code == 1
    [error] = json.loads(result.stdout)["errors"]
    assert error["reason"] == f"the LLM's server {reason}"
    assert {asked.model for asked in llm.history} == {"gpt-4o-mini", "gpt-4o"}
    assert len(llm.history) <= 40


def test_an_llm_that_answers_nothing_of_a_chunk_is_not_waited_for_again(shell: Shell, llm: FakeLLM) -> None:
    shell.write("tickets.csv", table(1000))
    llm.enqueue(*[Fault(503)] * 200)

    result = shell.run("tickets.csv", LLM_MAX_RETRIES="0")

    assert result.exit_code == 1
    assert "1000 without an answer: the LLM's server answered 503" in result.stderr
    assert len(llm.history) == 20


def test_answers_that_are_there_are_not_given_up_for_failures(shell: Shell) -> None:
    shell.write("tickets.csv", table(3))
    shell.run("tickets.csv")
    before = shell.tasks()

    result = shell.run("tickets.csv", OPENAI_API_KEY="wrong", OPENAI_MODEL="gpt-4o")

    assert result.exit_code == 1
    assert "has more answers than there are now, so it stays as it is" in result.stderr
    assert shell.tasks() == before


def test_a_finished_file_is_not_asked_about_again_but_for_what_is_new(shell: Shell, llm: FakeLLM) -> None:
    shell.write("tickets.csv", table(3))
    shell.run("tickets.csv")
    before = shell.tasks()
    shell.write("tickets.csv", table(4))

    result = shell.run("tickets.csv")

    assert (result.exit_code, shell.tasks()[:3]) == (0, before)
    assert sorted(asked(llm)) == sorted(map(text, range(4)))


@pytest.mark.parametrize("change", [{"OPENAI_MODEL": "gpt-4o"}, {"DEFAULT_PROMPT": "ALWAYS other"}])
def test_another_model_or_prompt_is_asked_about_everything(shell: Shell, llm: FakeLLM, change: dict[str, str]) -> None:
    shell.write("tickets.csv", table(3))
    shell.run("tickets.csv")

    result = shell.run("tickets.csv", **change)

    assert result.exit_code == 0
    assert len(asked(llm)) == 6
    assert len({task["predictions"][0]["model_version"] for task in shell.tasks()}) == 1


def test_so_is_one_by_another_label_config(shell: Shell, llm: FakeLLM) -> None:
    shell.write("tickets.csv", table(3))
    shell.run("tickets.csv")
    shell.write("config.xml", CONFIG.replace('<Choice value="other"/>', '<Choice value="other"/><Choice value="new"/>'))

    assert shell.run("tickets.csv").exit_code == 0
    assert len(asked(llm)) == 6


def wait_for(condition: Callable[[], bool], within_s: float = 30) -> None:
    ends = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_and_started_again_it_goes_on_where_it_was(shell: Shell, llm: FakeLLM, how: signal.Signals) -> None:
    shell.write("tickets.csv", table(600))
    side_file = shell.directory / "out.json.partial"
    llm.latency_s = 0.4

    with shell.start("tickets.csv") as process:
        wait_for(lambda: side_file.exists() and side_file.read_bytes().count(b"\n") == 200)
        process.send_signal(how)
        _, stderr = process.communicate()
    done = [number for number in range(600) if text(number) in asked(llm)]
    kept = side_file.read_bytes().count(b"\n")
    assert kept == 200
    assert len(done) < 600
    side_file.write_bytes(side_file.read_bytes() + b'{"key": "torn')
    llm.reset()

    result = shell.run("tickets.csv")

    assert result.exit_code == 0
    assert "(200 answered earlier)" in result.stdout
    assert len(asked(llm)) == 400
    assert labels(shell.tasks()) == [LABELS[number % 3] for number in range(600)]
    assert shell.files == {"out.json"}
    if how == signal.SIGINT:
        assert process.returncode == 1
        assert f"interrupted; what was answered is in {side_file}, start again to go on" in stderr


def test_without_an_llm_the_embedded_model_answers_and_says_what_it_is(shell: Shell) -> None:
    shell.write("tickets.csv", table(60, reviewed=45))

    result = shell.run("tickets.csv", OPENAI_API_KEY="", OPENAI_BASE_URL="")
    predicted = [task["predictions"][0] for task in shell.tasks()[45:]]

    assert result.exit_code == 0
    assert "It is no LLM and cannot follow a prompt." in result.stderr
    assert labels(shell.tasks()) == [None] * 45 + [LABELS[number % 3] for number in range(45, 60)]
    assert all(0 < prediction["score"] <= 1 for prediction in predicted)
    assert {prediction["model_version"][:14] for prediction in predicted} == {"weak-model-45-"}


def test_other_reviews_make_another_embedded_model(shell: Shell) -> None:
    local = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}
    shell.write("tickets.csv", table(60, reviewed=45))
    shell.run("tickets.csv", **local)
    same = shell.run("tickets.csv", **local)
    shell.write("tickets.csv", table(60, reviewed=45).replace(",refund\r\n", ",other\r\n", 1))

    other = shell.run("tickets.csv", **local)

    assert "(15 answered earlier)" in same.stdout
    assert "answered earlier" not in other.stdout


def test_with_too_few_reviews_the_embedded_model_says_how_many_it_needs(shell: Shell) -> None:
    shell.write("tickets.csv", table(10, reviewed=3))

    result = shell.run("tickets.csv", OPENAI_API_KEY="", OPENAI_BASE_URL="")

    assert result.exit_code == 1
    assert "it needs 20 with at least 2 different answers and has 3 with 3" in result.stderr
    assert labels(shell.tasks(), "annotations") == [*LABELS, *[None] * 7]
    assert not any(task.get("predictions") for task in shell.tasks())


def test_a_question_with_too_few_reviews_is_named_and_the_others_are_answered(
    shell: Shell, caplog: pytest.LogCaptureFixture
) -> None:
    mood = '<Choices name="mood" toName="text"><Choice value="calm"/><Choice value="angry"/></Choices></View>'
    shell.write("config.xml", CONFIG.replace("</View>", mood))
    shell.write("tickets.csv", table(60, reviewed=45))

    result = shell.run("tickets.csv", OPENAI_API_KEY="", OPENAI_BASE_URL="")

    assert result.exit_code == 0
    assert "'mood' gets no label: it needs 20 with at least 2 different answers and has 0 with 0" in caplog.text
    assert len(shell.tasks()[-1]["predictions"][0]["result"]) == 1


def test_a_file_of_reviewed_rows_needs_nobody(shell: Shell) -> None:
    shell.write("tickets.csv", table(3, reviewed=3))

    result = shell.run("tickets.csv", OPENAI_API_KEY="", OPENAI_BASE_URL="")

    assert (result.exit_code, result.stderr) == (0, "")
    assert labels(shell.tasks(), "annotations") == list(LABELS)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", [], "tickets.csv: it is empty"),
        ("body\nhello\n", [], "tickets.csv: it has no 'text', which the label config shows; its columns are body"),
        ("text\nhello\n", ["--label-column", "truth"], "there is no column 'truth'"),
        ("text\nhello\n", ["--config", "/none.xml"], "File '/none.xml' does not exist"),
        ("text\nhello\n", ["--config", __file__], "the label config is not well-formed XML"),
        ("text\nhello\n", ["--out", "/none/out.json"], "there is no directory /none"),
        ("text\nhello\n", ["--out", __file__], "name another file, or remove it"),
    ],
)
def test_wrong_use_is_told_before_anybody_is_asked(
    shell: Shell, llm: FakeLLM, content: str, options: list[str], message: str
) -> None:
    shell.write("tickets.csv", content)

    result = shell.run("tickets.csv", *options)

    assert result.exit_code == 2
    assert message in result.stderr
    assert llm.history == []
    assert shell.files == set()


def test_a_config_that_is_not_utf_8_is_refused(shell: Shell) -> None:
    shell.write("tickets.csv", table(1))
    (shell.directory / "config.xml").write_bytes(CONFIG.replace("other", "größer").encode("latin-1"))

    result = shell.run("tickets.csv")

    assert (result.exit_code, "config.xml: it is not UTF-8" in result.stderr) == (2, True)


def test_what_cannot_be_kept_is_told_with_its_name(shell: Shell) -> None:
    shell.write("tickets.csv", table(1))
    (shell.directory / "out.json.partial").mkdir()

    result = shell.run("tickets.csv")

    assert (result.exit_code, "out.json.partial: Is a directory" in result.stderr) == (1, True)


def test_a_file_is_not_written_over_itself(shell: Shell) -> None:
    shell.write("out.json", '[{"data": {"text": "hello"}}]')

    result = shell.run("out.json")

    assert (result.exit_code, "would be written over itself" in result.stderr) == (2, True)


def test_what_the_command_wrote_can_be_read_by_it_again(shell: Shell, llm: FakeLLM) -> None:
    shell.write("tickets.csv", table(4, reviewed=2))
    shell.run("tickets.csv")
    (shell.directory / "out.json").rename(shell.directory / "tickets.json")
    llm.reset()

    result = shell.run("tickets.json")

    assert result.stdout.startswith("4 rows: 2 reviewed, 2 labeled")
    assert labels(shell.tasks(), "annotations") == ["refund", "shipping", None, None]


def test_a_reason_and_terms_are_the_same_for_a_file(shell: Shell, llm: FakeLLM) -> None:
    shell.write("config.xml", CONFIG.replace("<Choices", '<TextArea name="reasoning" toName="text"/><Choices', 1))
    shell.write("terms.yaml", "RMA: Return number.\n")
    shell.write("tickets.csv", "text\nrefund my RMA\n")

    result = shell.run("tickets.csv", GLOSSARY_FILE=str(shell.directory / "terms.yaml"))

    assert result.exit_code == 0
    [choice, reason] = shell.tasks()[0]["predictions"][0]["result"]
    assert (choice["value"], reason["value"]) == ({"choices": ["refund"]}, {"text": ["Chosen by its words."]})
    assert llm.history[0].notes == (("RMA", "Return number."),)


def test_a_glossary_that_cannot_be_used_is_told_before_anything_is_asked(shell: Shell, llm: FakeLLM) -> None:
    shell.write("terms.yaml", "RMA:\n")
    shell.write("tickets.csv", table(3))

    result = shell.run("tickets.csv", GLOSSARY_FILE=str(shell.directory / "terms.yaml"))

    assert result.exit_code == 1
    assert "terms.yaml', line 1: 'RMA' has no explanation" in result.stderr
    assert (shell.files, llm.history) == (set(), [])
