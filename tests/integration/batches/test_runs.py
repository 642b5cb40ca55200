"""Batch mode: bulk runs through a provider's Batch API."""

import os
import re
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from model import PrelabelModel
from prelabel.runs import control
from prelabel.runs.batch import SOONEST_S
from prelabel.runs.bulk import execute
from prelabel.web.app import create_app
from tests.fakes.llm_batches import Lot
from tests.fakes.llm_faults import CUT_OFF, DOUBLED_IDS, EMPTY, FOREIGN, IGNORED, MISSING_IDS, REFUSAL
from tests.fakes.llm_moods import Mood
from tests.fakes.llm_replies import Drop, Fault, Reply, Twist, without_usage
from tests.fakes.llm_server import FakeLLM
from tests.integration.batches.conftest import BatchSite, Open, assert_nothing_left
from tests.integration.conftest import json_of
from tests.integration.project_seven import CREATED, REF
from tests.servers import REPOSITORY


def shell(site: BatchSite, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "prelabel", *arguments]
    env = {"PATH": os.environ["PATH"], **site.env}
    return subprocess.run(command, env=env, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)


def test_a_run_is_answered_in_batches_at_half_the_price(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LLM_PRICE_INPUT="2", LLM_PRICE_OUTPUT="10")
    site.studio.tasks.add(1200)
    run = site.start()

    submitted = site.do(run)
    waits = control.describe(site.work, submitted)["batches"]
    found = site.do_all(run)

    whole = (2 * found.counts["prompt_tokens"] + 10 * found.counts["completion_tokens"]) / 1e6
    assert (submitted.state, submitted.is_resting, submitted.done) == ("running", True, len(site.live()[0].texts))
    assert waits
    assert (waits["count"], waits["requests"], waits["completed"]) == (1, 119, 0)
    assert (found.state, found.counts["labeled"], found.total, found.waiting) == ("succeeded", 1200, 1200, 0)
    assert found.cost
    assert whole / 2 < found.cost < 0.51 * whole
    assert site.per_task(run) == {1: 1200}
    assert (set(site.asked().values()), found.counts["requests"], len(site.live())) == ({1}, 120, 1)
    assert_nothing_left(site)


def test_a_run_is_started_over_http_and_shown_with_what_it_waits_for(site: BatchSite, llm: FakeLLM) -> None:
    llm.batches.stages["in_progress"] = 1000
    site.studio.tasks.add(100)
    http = create_app(PrelabelModel, site.work).test_client()

    made = http.post("/runs", json={"project": 7, "mode": "batch"})
    run_id = json_of(made)["id"]
    site.do(site.work.runs.get(run_id))
    shown = json_of(http.get(f"/runs/{run_id}"))

    [batch] = site.work.runs.batches(run_id).all()
    assert (made.status_code, shown["mode"], shown["state"]) == (202, "batch", "running")
    assert shown["batches"] == {
        "count": 1,
        "requests": 9,
        "completed": 0,
        "expire_at": None,
        "next_look_at": shown["batches"]["next_look_at"],
    }
    assert batch.batch_id in llm.batches.batches


@pytest.mark.parametrize("mode", ["bulk", "", 1, True, ["batch"], {"mode": "batch"}])
def test_another_mode_is_refused_by_its_name(site: BatchSite, mode: object) -> None:
    http = create_app(PrelabelModel, site.work).test_client()

    refused = http.post("/runs", json={"project": 7, "mode": mode})

    assert (refused.status_code, json_of(refused)["error"]["type"]) == (400, "mode")
    assert site.work.runs.all() == []


def test_the_shell_starts_a_run_and_tells_that_it_waits_for_the_provider(site: BatchSite, llm: FakeLLM) -> None:
    llm.batches.stages["in_progress"] = 1000
    site.studio.tasks.add(100)

    run_id = shell(site, "run", "--project", "7", "--mode", "batch", "--no-wait").stdout.strip()
    for _ in range(2):
        site.do(site.work.runs.get(run_id))
    told = shell(site, "status", run_id).stdout
    refused = shell(
        replace(site, env={**site.env, "OPENAI_PROVIDER": "ollama"}), "run", "--project", "8", "--mode", "batch"
    )

    assert re.search(
        r"waits for the provider: 1 batch, 0 of 9 requests, by 20..-..-..T..:..:..\+00:00 at the latest", told
    )
    assert (refused.returncode, refused.stderr) == (
        1,
        "Error: Ollama has no Batch API (OpenAI and Azure have one): ask it live\n",
    )


def test_no_worker_is_held_while_the_provider_takes_its_time(site: BatchSite, llm: FakeLLM) -> None:
    llm.batches.stages["in_progress"] = 1000
    site.studio.tasks.add(100)
    run = site.start()

    site.do(run)
    asked = list(llm.batches.requests)
    for _ in range(2):
        execute(site.work, run.id)
        control.take_up_abandoned(site.work)
    rests = site.now(run)
    looked = site.do(run)

    waits = control.describe(site.work, rests)
    assert (rests.state, waits["state"], waits["eta_seconds"]) == ("running", "running", None)
    assert rests.poll_at - time.time() == pytest.approx(SOONEST_S, abs=5)
    assert site.work.jobs.queued().jobs["waiting"] == 1  # the one of the start
    assert [*asked, "retrieve"] == llm.batches.requests
    assert looked.is_resting


def test_what_expired_goes_into_one_more_batch_and_then_is_asked_live(site: BatchSite, llm: FakeLLM) -> None:
    llm.batches.expires, llm.batches.share_done = True, 0.5
    site.studio.tasks.add(810)

    run = site.do_all(site.start())

    sizes = [len(batch.rows) for batch in llm.batches.batches.values()]
    assert (run.state, run.counts["labeled"]) == ("succeeded", 810)
    assert (sizes, len(site.live())) == ([80, 40], 1 + 20)
    assert set(site.asked().values()) == {1}
    assert [event["why"] for event in site.work.runs.history(run.id) if event["what"] == "asked live"] == [
        "200 tasks that no batch has answered"
    ]
    assert_nothing_left(site)


def test_each_batch_is_written_as_it_ends(site: BatchSite, llm: FakeLLM) -> None:
    llm.batches.stages["in_progress"] = 1000
    site.studio.tasks.add(100)
    run = site.start()
    site.work.runs.update(run.id, batch_tokens=1)
    site.do(run)
    batches = list(llm.batches.batches.values())

    batches[3].changed -= 1000
    some = site.do(run)
    written = site.per_task(run)
    llm.batches.stages["in_progress"] = 0
    found = site.do_all(run)

    assert [len(batch.rows) for batch in batches] == [1] * 9
    assert (some.state, some.is_resting, some.counts["labeled"], written) == ("running", True, 20, {1: 20})
    assert (found.state, found.counts["labeled"], len(llm.batches.batches)) == ("succeeded", 100, 9)
    assert set(site.asked().values()) == {1}
    assert_nothing_left(site)


FATES: list[Lot | Reply] = [
    *Lot,
    *(Fault(400), Fault(429), Fault(500), Fault(413), Drop()),
    *(CUT_OFF, DOUBLED_IDS, EMPTY, FOREIGN, IGNORED, MISSING_IDS, REFUSAL),
]


def test_whatever_becomes_of_a_row_its_tickets_are_labelled(site: BatchSite, llm: FakeLLM) -> None:
    llm.batches.fates = {f"r{number}": fate for number, fate in enumerate(FATES)}
    site.studio.tasks.add(20 * len(FATES))

    run = site.do_all(site.start())

    assert (run.state, run.counts["labeled"], run.total) == ("succeeded", 20 * len(FATES), 20 * len(FATES))
    assert site.per_task(run) == {1: run.total}
    assert len(llm.batches.batches) == 2
    assert_nothing_left(site)


def test_answers_of_batches_are_known_to_later_runs(site: BatchSite, llm: FakeLLM) -> None:
    site.studio.tasks.add(100)
    site.do_all(site.start())
    asked = len(llm.history)

    again = site.do_all(site.start(only_missing=False))

    assert (again.state, again.counts["labeled"], again.counts["from_cache"]) == ("succeeded", 100, 100)
    assert (len(llm.history), len(llm.batches.batches)) == (asked, 1)
    assert site.per_task(again) == {1: 100}


def test_tasks_that_are_gone_or_predicted_or_withheld_are_left_alone(site: BatchSite, llm: FakeLLM) -> None:
    tasks = site.studio.tasks.add(300)
    llm.batches.stages["in_progress"] = 1000
    run = site.start(validation=50, limit=200)
    site.do(run)
    withheld = site.work.projects.withheld(REF, tasks)
    asked = [task for task in tasks[:200] if task not in withheld]

    site.studio.tasks.delete(asked[50])
    site.studio.tasks.delete(asked[51])
    event = {"project": {"id": 7, "created_at": CREATED}, "tasks": [{"id": asked[51]}]}
    site.work.learning.receive("TASKS_DELETED", event)
    llm.batches.stages["in_progress"] = 0
    found = site.do_all(run)

    assert (found.state, found.total, found.counts["withheld"]) == ("succeeded", 200, 50)
    assert (found.counts["labeled"], found.counts["skipped"]) == (148, 2)
    secret = {site.studio.tasks.texts[task] for task in withheld}
    assert secret.isdisjoint(site.batched())
    assert {text for each in site.live() for text in each.texts} >= secret
    assert site.per_task(run) == {1: 148}


def test_a_run_submits_no_more_than_there_is_money_for(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4")
    site.studio.tasks.add(1000)

    run = site.do_all(site.start(max_cost=0.03), turns=40)

    reserved = site.work.redis.hgetall(f"{site.work.runs._keys.run(run.id)}:reserved")
    assert run.state == "failed"
    assert "may cost $0.03 at most" in run.message
    assert run.cost
    assert 0.02 < run.cost <= 0.03
    assert len(llm.batches.batches) > 1
    assert (reserved, run.answered) == ({}, 0)
    assert site.per_task(run) == {1: run.counts["labeled"]}
    assert_nothing_left(site)


def test_a_run_that_cannot_know_what_it_costs_submits_no_more_and_says_so(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4")
    site.studio.tasks.add(1000)
    llm.enqueue(Twist(lambda _, asked: without_usage(asked)))

    run = site.do_all(site.start(max_cost=0.03), turns=40)

    assert run.state == "failed"
    assert "nobody knows the price of an answer" in run.message
    assert_nothing_left(site)


def test_what_a_model_thinks_in_a_batch_is_within_what_a_run_may_cost(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4")
    llm.mood = Mood(refuses=("max_tokens", "temperature", "logprobs"), thinks=3900)
    site.studio.tasks.add(1000)

    run = site.do_all(site.start(max_cost=0.1), turns=40)

    assert run.state == "failed"
    assert "may cost $0.1 at most" in run.message
    assert run.cost
    assert 0.06 < run.cost <= 0.1


def test_a_dry_run_tells_the_price_of_batches(open_site: Open, llm: FakeLLM) -> None:
    site = open_site(LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="4", ANSWER_CACHE_DAYS="0")
    site.studio.tasks.add(1200)

    dry = site.do(site.start(dry_run=True))
    whole = site.do_all(site.start())

    assert dry.estimate
    assert whole.cost
    assert (dry.state, len(llm.batches.batches)) == ("succeeded", 1)
    assert dry.estimate["cost"] == pytest.approx(whole.cost, rel=0.05)
