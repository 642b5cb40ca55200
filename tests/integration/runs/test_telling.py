"""What is told of methods and stages in the shell and over HTTP: how good they are, and what is refused."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from model import PrelabelModel
from prelabel.config import Method
from prelabel.core.types import Annotation, LabelSource
from prelabel.errors import RequestError
from prelabel.runs import control
from prelabel.runs.turn import LOOK_S
from prelabel.store.keys import ProjectRef
from prelabel.store.run import RunOptions
from prelabel.web.app import create_app
from tests.fakes.llm_policy import Verdict
from tests.fakes.llm_request import Asked
from tests.fakes.llm_server import FakeLLM
from tests.integration.conftest import json_of
from tests.integration.project_seven import REF
from tests.integration.runs.conftest import Gate, Open, Site
from tests.servers import REPOSITORY

RULES = """
refunds: {control: intent, label: refund, keywords: refund}
lost: {control: intent, label: shipping, keywords: parcel}
"""

COSTS_1 = RunOptions(7, max_cost=1)


def shell(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "prelabel", *arguments]
    env = {"PATH": os.environ["PATH"], **site.env}
    return subprocess.run(command, env=env, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def http(site: Site) -> FlaskClient:
    return create_app(PrelabelModel, site.work).test_client()


def doubtful(text: str, _: Asked) -> Verdict:
    number = int(text.rsplit(maxsplit=1)[-1])
    return Verdict(("refund",), 0.9 if number % 2 else 0.7)


def label_blind(site: Site, count: int | None = None) -> int:
    """Of every fourth the LLM's label is wrong."""
    texts, drawn = site.tasks.texts, sorted(site.work.projects.all_withheld(REF))[:count]
    site.work.annotations.put(
        REF,
        [
            Annotation(task, task, texts[task], {"intent": (label,)}, LabelSource.PERSON_BLIND, 1.0, author=1)
            for task in drawn
            for label in ["other" if task % 4 == 0 else "refund"]
        ],
    )
    return len(drawn)


def test_quality_says_what_is_missing_where_nothing_is_labelled_blind(site: Site, llm: FakeLLM) -> None:
    site.tasks.add(20)

    text, read = shell(site, "quality", "--project", "7"), shell(site, "quality", "--project", "7", "--json")

    assert (text.returncode, text.stderr) == (0, "")
    assert text.stdout.startswith("tasks labelled blind: 0 of intent\n")
    assert text.stdout.endswith(
        "Scores need 30: withhold tasks by 'run --validation 300', and have people label them.\n"
    )
    told = json.loads(read.stdout)
    assert (told["evidence"], told["figures"], told["scored_by"], told["agreement"]) == ({"intent": 0}, [], 0, None)
    assert llm.history == []


def test_quality_tells_each_method_and_each_rule(open_site: Open, llm: FakeLLM, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    site = open_site(RULES_FILE=str(tmp_path / "rules.yaml"))
    llm.answer = doubtful
    site.tasks.add(120)
    site.do(site.start(validation=60))
    label_blind(site)
    since, before = len(llm.history), dict(site.work.projects.state(REF).settings)

    text, read = shell(site, "quality", "--project", "7"), shell(site, "quality", "--project", "7", "--json")
    site.do(site.start(rescore=True))
    after = shell(site, "quality", "--project", "7")
    site.work.projects.begin_generation(REF)
    anew = shell(site, "quality", "--project", "7")

    told = json.loads(read.stdout)
    figures = {each["method"]: each for each in told["figures"] if not each["stage"]}
    right = sum(task % 4 != 0 for task in site.work.projects.all_withheld(REF))
    assert (text.returncode, read.returncode, after.returncode) == (0, 0, 0)
    assert text.stdout.startswith("tasks labelled blind: 60 of intent\n")
    assert "Scores are made by none of them yet: 'run --rescore' makes them by all." in text.stdout
    assert "Scores are made by all tasks labelled blind." in after.stdout
    assert "About 60 of them the LLM has not been asked as it answers now: the next run asks." in anew.stdout
    assert {"rules", "weak_model", "llm", "ensemble", "auto"} == set(figures)
    assert [(figures[name]["right"], figures[name]["judged"]) for name in ("llm", "rules")] == [(right, 60)] * 2
    assert "refunds" in text.stdout
    assert [rule["name"] for rule in told["rules"]["rules"]] == ["refunds", "lost"]
    assert (told["scored_by"], told["evidence"]) == (0, {"intent": 60})
    assert (len(llm.history), dict(site.work.projects.state(REF).settings)) == (since, before)


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["run", "--project", "7", "--method", "magic"], 2, "'magic' is not one of"),
        (["run", "--project", "7", "--rescore", "--refresh"], 1, "rescoring asks nothing"),
        (["run", "--project", "7", "--rescore", "--method", "llm"], 1, "rescoring asks nothing"),
        (["quality"], 2, "Missing option '--project'"),
        (["quality", "--project", "8"], 1, "Error: "),
    ],
)
def test_the_shell_refuses_what_cannot_be_done(site: Site, arguments: list[str], status: int, told: str) -> None:
    done = shell(site, *arguments)

    assert (done.returncode, done.stdout) == (status, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert site.work.runs.all() == []


def test_the_shell_starts_runs_by_a_method_and_runs_that_score_anew(site: Site) -> None:
    site.tasks.add(20)

    first = shell(site, "run", "--project", "7", "--method", "llm", "--no-wait").stdout.strip()
    labeled = site.do(site.work.runs.get(first))
    second = json.loads(shell(site, "run", "--project", "7", "--rescore", "--no-wait", "--json").stdout)["id"]
    scored = site.do(site.work.runs.get(second))
    told = shell(site, "status", second)

    assert (labeled.state, dict(labeled.stages)) == ("succeeded", {"llm": 20})
    assert site.work.projects.state(REF).settings == {"LABELING_METHOD": "llm"}
    assert site.work.runs.get(second).options.rescore
    assert (scored.state, "0 tasks are labelled blind, and 30 are needed" in told.stdout) == ("failed", True)


def test_status_shows_who_settled_how_many_and_how_good_that_is(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LABELING_METHOD="llm", LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4")
    llm.answer = doubtful
    site.tasks.add(120)
    first = site.do(site.start(validation=60))
    label_blind(site)
    again = site.do(site.start(rescore=True))

    unknown, known = (shell(site, "status", run.id).stdout.splitlines() for run in (first, again))

    right = sum(task % 4 != 0 for task in site.work.projects.all_withheld(REF))
    assert re.fullmatch(r"  settled by llm: 60 \(100%\), \$\d\.\d+", unknown[1])
    assert unknown[2] == "  scores are not calibrated yet: each is the best signal there is, as it came"
    assert known[1:3] == [
        f"  settled by llm: 60 (100%), {right / 60:.1%} of 60 labelled blind right",
        "  scores calibrated by 60 tasks labelled blind",
    ]


def test_runs_over_http_take_a_method_and_tell_their_stages(site: Site, http: FlaskClient, llm: FakeLLM) -> None:
    site.tasks.add(20)
    http.post("/setup", json={"project": f"7.{REF.created}", "schema": site.studio.projects[7]["label_config"]})

    made = http.post("/runs", json={"project": 7, "method": "llm", "rescore": False})
    site.do(site.work.runs.get(json_of(made)["id"]))

    told = json_of(http.get(f"/runs/{json_of(made)['id']}"))
    assert (made.status_code, told["state"]) == (202, "succeeded")
    assert (told["evidence"], told["is_calibrated"]) == (0, False)
    assert told["stages"] == [{"stage": "llm", "tasks": 20, "share": 1.0, "judged": 0, "accuracy": None, "cost": None}]
    assert site.work.projects.state(REF).settings == {"LABELING_METHOD": "llm"}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        *(({"method": value}, "method") for value in ("magic", "", 1, True, ["llm"], {"llm": 1}, "LLM")),
        *(({"rescore": value}, "rescore") for value in ("yes", 1, None, [True])),
        ({"rescore": True, "refresh": True}, "rescore"),
        ({"rescore": True, "validation": 1}, "rescore"),
        ({"rescore": True, "dry_run": True}, "rescore"),
        ({"rescore": True, "mode": "batch"}, "rescore"),
        ({"rescore": True, "method": "auto"}, "rescore"),
        ({"method": "rules"}, "method"),  # there are none
        ({"rescores": True}, "options"),
    ],
)
def test_over_http_what_cannot_be_done_is_refused_by_its_name(
    site: Site, http: FlaskClient, body: dict[str, Any], named: str
) -> None:
    refused = http.post("/runs", json={"project": 7, **body})

    assert (refused.status_code, json_of(refused)["error"]["type"]) == (400, named)
    assert site.work.runs.all() == []
    assert dict(site.work.projects.state(REF).settings) == {}


def test_a_method_reaches_a_project_that_nobody_has_met_yet(site: Site, http: FlaskClient, llm: FakeLLM) -> None:
    site.tasks.add(20)

    made = http.post("/runs", json={"project": 7, "method": "weak_model"})
    run = site.do(site.work.runs.get(json_of(made)["id"]))

    assert ("embedded model has too few" in run.message, llm.history) == (True, [])


def test_a_method_for_a_project_that_is_not_there_starts_no_run(site: Site, http: FlaskClient) -> None:
    refused = http.post("/runs", json={"project": 9, "method": "llm"})

    assert refused.status_code == 503
    assert site.work.runs.all() == []


def test_a_method_stays_as_it_was_where_the_project_has_a_run_going(site: Site) -> None:
    site.work.projects.state(ProjectRef(7, REF.created))
    site.start()

    with pytest.raises(RequestError):
        control.start(site.work, RunOptions(7), "llm")

    assert dict(site.work.projects.state(REF).settings) == {}


def test_a_stronger_model_without_a_price_is_refused_where_a_cost_is_to_be_kept_to(open_site: Open) -> None:
    prices = {"LLM_PRICE_INPUT": "1", "LLM_PRICE_OUTPUT": "4"}
    site = open_site(ESCALATION_MODEL="gpt-4o", **prices)

    with pytest.raises(RequestError, match="the price of ESCALATION_MODEL is not known"):
        site.start(max_cost=1)
    with pytest.raises(RequestError, match="the price of ESCALATION_MODEL is not known"):
        control.start(open_site(ESCALATION_MODEL="gpt-4o", **prices, LABELING_METHOD="llm").work, COSTS_1, "auto")

    assert site.work.runs.all() == []


@pytest.mark.parametrize("method", ["llm", "ensemble"])
def test_a_stronger_model_needs_no_price_where_it_is_never_asked(open_site: Open, method: Method) -> None:
    site = open_site(ESCALATION_MODEL="gpt-4o", LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4")

    assert control.start(site.work, COSTS_1, method).state == "queued"


def test_a_model_needs_no_price_where_none_is_asked(site: Site) -> None:
    assert control.start(site.work, COSTS_1, "weak_model").state == "queued"


def test_a_model_needs_a_price_where_it_is_asked_from_now_on(open_site: Open) -> None:
    site = open_site(LABELING_METHOD="rules")

    with pytest.raises(RequestError, match="the price of a model is not known"):
        control.start(site.work, COSTS_1, "llm")

    assert (site.work.runs.all(), dict(site.work.projects.state(REF).settings)) == ([], {})


def test_what_a_stronger_model_was_not_asked_before_a_pause_is_asked_after_it(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(ESCALATION_MODEL="gpt-4o", LLM_CONCURRENCY="1")
    tasks = site.tasks.add(40)
    gate = Gate()

    def answer(text: str, asked: Asked) -> Verdict:
        if asked.model == "gpt-4o-mini":
            return Verdict(("refund",), 0.3)
        gate(text, asked)
        return Verdict(("shipping",), 0.9)

    llm.answer = answer
    run = site.start()
    doing = site.doing(run)
    assert gate.reached.wait(20)
    control.pause(site.work, run.id)
    time.sleep(10 * LOOK_S)  # until the turn has heard of it
    gate.opened.set()
    doing.result(30)
    paused = site.work.runs.get(run.id)

    control.resume(site.work, run.id)
    found = site.do(run)

    said = site.work.projects.predicted(REF, tasks)
    assert (paused.state, paused.done < 40) == ("paused", True)
    assert (found.state, found.counts["labeled"]) == ("succeeded", 40)
    assert {each.labels["intent"] for each in said.values()} == {("shipping",)}
    assert dict(found.stages) == {"escalation": 40}
