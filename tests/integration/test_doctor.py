"""The doctor: all is well on real servers, then one thing is broken at a time, and named for what it is."""

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from prelabel.address import Trouble, look
from prelabel.cli import main
from prelabel.config import Settings
from prelabel.core.types import Annotation, LabelSource
from prelabel.doctor.findings import Finding
from prelabel.store.keys import ProjectRef
from tests.fakes.llm_server import FakeLLM
from tests.integration.broken_setups import (
    BROKEN,
    NO_HOST,
    NOWHERE,
    Break,
    no_worker,
    with_env,
    with_project,
)
from tests.integration.project_seven import REF
from tests.integration.whole_setup import Setup, all_well
from tests.servers import redis_server

pytestmark = pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")  # by the SDK, for a token


@pytest.fixture(scope="module")
def own_redis() -> Iterator[str]:
    """A Redis of the doctor's own, since its settings are changed here."""
    with redis_server() as server:
        yield server.url


@pytest.fixture
def setup(own_redis: str, llm: FakeLLM) -> Iterator[Setup]:
    with all_well(own_redis, llm) as setup:
        yield setup


def by_state(findings: list[Finding], state: str) -> set[str]:
    return {finding.check for finding in findings if finding.state == state}


def test_where_all_is_well_nothing_else_is_said(setup: Setup) -> None:
    findings = setup.examine()

    assert [finding for finding in findings if finding.state != "ok"] == []
    assert [finding.check for finding in findings] == [
        *("settings", "listening", "redis", "redis memory", "workers", "jobs", "llm"),
        *("label studio", "token", "backend"),
        *("project 7 label config", "project 7 scores"),
        *("project 7 ml backend", "project 7 version", "project 7 webhook"),
    ]


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (12, "not calibrated: 12 tasks are labelled blind, and it takes 30"),
        (78, "not calibrated yet by the 78 tasks labelled blind: the next run does it, or run --rescore"),
    ],
)
def test_by_what_scores_are_made_is_told(setup: Setup, count: int, told: str) -> None:
    labels = {"intent": ("refund",)}
    source = LabelSource.PERSON_BLIND
    blind = [Annotation(task, task, f"refund {task}", labels, source, 1.0, author=1) for task in range(count)]
    setup.work.annotations.put(REF, blind)

    (scores,) = (finding for finding in setup.examine() if finding.check == "project 7 scores")

    assert (scores.state, scores.message) == ("ok", told)


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_named_and_nothing_else_is(setup: Setup, what: str) -> None:
    breaking, checks, message, cure = BROKEN[what]
    breaking(setup)

    findings = setup.examine()

    assert by_state(findings, "failed") == checks
    named = [finding for finding in findings if finding.state == "failed" and message in finding.message]
    assert len(named) == 1, findings
    assert cure in named[0].cure


@pytest.mark.parametrize(
    ("breaking", "check", "message", "cure"),
    [
        (
            lambda it: it.redis.config_set("save", ""),
            "redis memory",
            "keeps nothing over a restart",
            "--appendonly yes",
        ),
        (
            lambda it: it.redis.config_set("maxmemory-policy", "allkeys-lru"),
            "redis memory",
            "drops keys when memory is full (allkeys-lru)",
            "--maxmemory-policy noeviction",
        ),
        (lambda it: setattr(it.studio, "version", "1.20.0"), "label studio", "Label Studio 1.20.0", "1.23 or later"),
        (
            with_project(show_collab_predictions=False),
            "project 7",
            "people who label see no predictions",
            "turn on 'Use predictions to prelabel tasks'",
        ),
        (
            lambda it: it.studio.ml_backends.insert(
                0, {**it.studio.ml_backends[0], "id": 9, "url": NOWHERE, "title": "other"}
            ),
            "project 7",
            f"'other' at {NOWHERE}",
            "remove it in the project's Settings > Model",
        ),
        (
            lambda it: it.studio.webhooks.append({**it.studio.webhooks[0], "id": 2}),
            "project 7 webhook",
            "stands there 2 times",
            "connect --project 7",
        ),
        (lambda it: it.work.projects.forget(7), "projects", "none is connected yet", "connect --project ID"),
        (lambda it: it.llm.enqueue("I think it is a refund."), "llm", "does not follow the schema", "JSON schemas"),
        (with_env(PRELABEL_URL=f"http://{NO_HOST}:9090"), "backend", "cannot be reached from here", "PRELABEL_URL"),
    ],
)
def test_what_works_but_will_not_for_long_is_a_warning(
    setup: Setup, breaking: Break, check: str, message: str, cure: str
) -> None:
    breaking(setup)

    findings = setup.examine()

    assert by_state(findings, "failed") == set()
    named = [finding for finding in findings if finding.state == "warning" and message in finding.message]
    assert [finding.check for finding in named] == [check]
    assert cure in named[0].cure


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"OPENAI_MODEL": "gpt-4o"}, "OPENAI_MODEL"),
        ({"TEMPERATURE": "0.5"}, "TEMPERATURE"),
        ({"DEFAULT_PROMPT": "Be strict."}, "DEFAULT_PROMPT"),
        ({"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}, "OPENAI_API_KEY"),
    ],
)
def test_a_shell_with_other_settings_than_the_backend_is_told_so_and_nothing_is_called_wrong(
    setup: Setup, env: dict[str, str], named: str
) -> None:
    setup.set(**env)

    findings = setup.examine()

    (told,) = (finding for finding in findings if finding.state != "ok")
    assert (told.check, told.state) == ("project 7 settings", "warning")
    assert told.message.startswith("this shell's settings are not the backend's: project 7 is")
    assert f"{setup.version!r} by the backend" in told.message
    assert named in told.cure


def test_what_is_wrong_by_the_backends_version_is_so_from_a_shell_with_other_settings(setup: Setup) -> None:
    setup.set(OPENAI_MODEL="gpt-4o")
    setup.studio.projects[7]["model_version"] = "v3"

    findings = setup.examine()

    (version,) = (finding for finding in findings if finding.state == "failed")
    assert version.check == "project 7 version"
    assert version.message == f"the project shows scores of 'v3', predictions are of {setup.version!r}"


def test_a_backend_that_is_asked_for_its_version_is_given_nothing_to_do(setup: Setup) -> None:
    queue: Any = Queue(setup.work.jobs.name, connection=setup.redis, serializer=JSONSerializer)

    setup.examine()
    setup.set(OPENAI_MODEL="gpt-4o")
    setup.examine()

    assert queue.jobs == []


def test_quotes_that_a_file_left_around_a_value_are_named(setup: Setup) -> None:
    setup.set(OPENAI_API_KEY='"test-key"', LABEL_STUDIO_API_KEY=f"'{setup.studio.legacy_token}'")

    findings = setup.examine()

    assert by_state(findings, "failed") == {"llm", "token"}
    assert [finding.cure for finding in findings if finding.state == "warning"] == [
        "take the quotes around OPENAI_API_KEY's value away",
        "take the quotes around LABEL_STUDIO_API_KEY's value away",
    ]


def test_a_curly_quote_is_named_without_the_key(setup: Setup) -> None:
    setup.set(OPENAI_API_KEY="\u201csk-secret\u201d")

    findings = setup.examine()

    assert by_state(findings, "failed") == {"settings"}
    assert by_state(findings, "skipped") == {"llm", "projects"}
    assert "curly quote" in findings[1].message
    assert "secret" not in str(findings)


def test_what_hangs_on_a_wrong_setting_is_skipped_and_the_rest_is_not(setup: Setup) -> None:
    setup.set(REDIS_URL="localhost:6379", PORT="0")

    findings = setup.examine()

    assert {finding.check: finding.message for finding in findings if finding.state == "skipped"} == {
        "redis": "REDIS_URL is wrong",
        "workers": "REDIS_URL is wrong",
        "backend": "PORT is wrong",
        "projects": "REDIS_URL is wrong",
    }
    assert by_state(findings, "ok") == {"llm", "label studio", "token"}


def test_what_is_skipped_says_why_in_the_same_words(setup: Setup) -> None:
    setup.set(LABEL_STUDIO_URL="", LABEL_STUDIO_API_KEY="", OPENAI_BASE_URL="nowhere", TEMPERATURE="hot")

    skipped = {finding.check: finding.message for finding in setup.examine() if finding.state == "skipped"}

    assert skipped == {
        "llm": "OPENAI_BASE_URL and TEMPERATURE are wrong",
        "projects": "LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY are not set",
    }


def test_where_everything_is_dead_each_piece_is_named_once(setup: Setup) -> None:
    setup.backend.stop()
    setup.set(REDIS_URL="redis://127.0.0.1:1/0", OPENAI_BASE_URL=NOWHERE, LABEL_STUDIO_URL=NOWHERE)

    findings = setup.examine()

    assert by_state(findings, "failed") == {"redis", "llm", "label studio", "backend"}
    assert by_state(findings, "skipped") == {"workers", "projects"}


def test_without_an_llm_the_embedded_model_is_named(setup: Setup) -> None:
    setup.set(OPENAI_API_KEY="", OPENAI_BASE_URL="")

    (llm,) = (finding for finding in setup.examine() if finding.check == "llm")

    assert (llm.state, llm.message[:42]) == ("ok", "no LLM: the embedded model answers (set OP")


def test_a_personal_token_and_a_trailing_slash_are_right(setup: Setup) -> None:
    setup.set(LABEL_STUDIO_API_KEY=setup.studio.personal_token, LABEL_STUDIO_URL=f"{setup.studio.url}/")

    findings = setup.examine()

    assert by_state(findings, "failed") == set()
    assert "personal access token of user 1" in [finding.message for finding in findings]


def test_failed_jobs_are_counted_with_the_newest_reason(setup: Setup) -> None:
    for number in range(2):
        setup.work.jobs.put("nonsense", ProjectRef(7 + number))
    queue: Any = Queue(setup.work.jobs.name, connection=setup.redis, serializer=JSONSerializer)
    worker = SimpleWorker([queue], connection=setup.redis, serializer=JSONSerializer)
    for job in queue.jobs:
        job.retries_left = 0
        job.save()
    worker.work(burst=True)

    findings = setup.examine()

    (jobs,) = (finding for finding in findings if finding.check == "jobs")
    assert jobs.state == "warning"
    assert "2 nonsense; the newest by" in jobs.message
    assert "nonsense" in jobs.message.partition("newest")[2]


def test_workers_of_another_label_studio_are_told_apart(setup: Setup) -> None:
    no_worker(setup)
    setup.env["LABEL_STUDIO_URL"] = "http://old:8080"
    setup.start_worker()
    setup.env["LABEL_STUDIO_URL"] = setup.studio.url

    (workers,) = (finding for finding in setup.examine() if finding.check == "workers")

    assert workers.state == "failed"
    assert "but for another LABEL_STUDIO_URL (old:8080)" in workers.message


def test_the_doctor_changes_nothing(setup: Setup) -> None:
    setup.examine()
    before = contents(setup.redis)
    setup.examine()

    assert contents(setup.redis) == before


def test_only_the_project_that_is_asked_for_is_looked_at(setup: Setup) -> None:
    setup.work.projects.state(ProjectRef(5, 1700000000))
    setup.project = 7

    assert by_state(setup.examine(), "failed") == set()


def test_a_project_unknown_on_both_sides_is_no_reason_to_forget_it(setup: Setup) -> None:
    setup.project = 99

    (finding,) = (each for each in setup.examine() if each.check == "project 99")

    assert (finding.state, "forget" in finding.cure) == ("failed", False)
    assert "it was deleted, or belongs to another organization" in finding.cure


def test_the_command_prints_a_line_a_check_its_cure_below_and_a_summary(setup: Setup) -> None:
    setup.set(OPENAI_API_KEY="sk-wrong", PRELABEL_URL=setup.work.settings.address.replace("localhost", "127.0.0.1"))

    done = CliRunner().invoke(main, ["doctor"], env=bare(setup.env))

    lines = done.stdout.splitlines()
    (line,) = (number for number, text in enumerate(lines) if text.startswith("FAIL"))
    assert (done.exit_code, lines[0][:16]) == (1, "ok    settings: ")
    assert lines[line].startswith("FAIL  llm: the LLM's server answered 401")
    assert lines[line + 1] == "      check OPENAI_API_KEY and what it may use"
    assert lines[-1].endswith(" 1 failed")


def test_as_json_there_are_findings_and_nothing_else(setup: Setup) -> None:
    done = CliRunner().invoke(main, ["doctor", "--project", "7", "--json"], env=bare(setup.env))

    found = json.loads(done.stdout)
    assert (done.exit_code, done.stderr) == (0, "")
    assert {tuple(finding) for finding in found} == {("check", "state", "message", "cure")}
    assert "failed" not in {finding["state"] for finding in found}


def test_a_project_that_is_no_number_is_wrong_use() -> None:
    assert CliRunner().invoke(main, ["doctor", "--project", "seven"]).exit_code == 2


def bare(env: dict[str, str]) -> dict[str, str | None]:
    """``env``, and nothing that the machine's own says of prelabel's settings."""
    return {**{name.upper(): None for name in Settings.model_fields}, **env}


def contents(client: redis.Redis) -> dict[bytes, Any]:
    """Every key that lasts, with what it holds."""
    keys: Any = client.keys("prelabel:*")
    return {key: client.dump(key) for key in keys if key != b"prelabel:1:doctor" and b":queued:" not in key}


def test_a_server_of_https_is_told_from_one_of_http(setup: Setup) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ADH-AES256-GCM-SHA384:@SECLEVEL=0")  # needs no certificate
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign] # what clients hang up on
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        host = f"127.0.0.1:{server.server_port}"
        found = look(f"http://{host}"), look(f"https://{host}"), look(setup.studio.url.replace("http:", "https:"))
        server.shutdown()
        thread.join()

    assert found == (Trouble.ENCRYPTED, Trouble.CERTIFICATE, Trouble.PLAIN)


def test_a_projects_glossary_that_cannot_be_used_is_named_with_its_line(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "terms.yaml").write_text("RMA:\n")
    setup.work.projects.set_settings(REF, {"GLOSSARY_FILE": str(tmp_path / "terms.yaml")})

    [finding] = [each for each in setup.examine() if each.state == "failed"]

    assert finding.check == "project 7 settings"
    assert "line 1: 'RMA' has no explanation" in finding.message


def test_rules_that_are_not_for_a_project_are_named_with_their_line(setup: Setup, tmp_path: Path) -> None:
    rules = [f"r{number}: {{label: no such label, keywords: x}}\n" for number in range(7)]
    (tmp_path / "rules.yaml").write_text("".join(rules))
    setup.work.projects.set_settings(REF, {"RULES_FILE": str(tmp_path / "rules.yaml")})

    [finding] = [each for each in setup.examine() if each.check == "project 7 rules"]

    assert finding.state == "warning"
    assert "not used: line 1: 'r0' has the label 'no such label', which 'intent' does not offer; " in finding.message
    assert finding.message.endswith("; and 2 more")


def test_a_projects_rules_that_cannot_be_used_are_named_with_their_line(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("r: {label: refund}\n")
    setup.work.projects.set_settings(REF, {"RULES_FILE": str(tmp_path / "rules.yaml")})

    [finding] = [each for each in setup.examine() if each.state == "failed"]

    assert finding.check == "project 7 settings"
    assert "line 1: 'r' has no condition" in finding.message
