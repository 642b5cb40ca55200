"""What is learned of servers of every kind, one request at a time, over HTTP."""

import logging
import math
import time

import pytest

from prelabel.bootstrap import build
from prelabel.config import Settings
from prelabel.errors import LLMUnavailable
from tests.fakes import llm_moods as moods
from tests.fakes.llm_moods import Mood
from tests.fakes.llm_policy import Verdict
from tests.fakes.llm_replies import CutOff, Fault, Hang
from tests.fakes.llm_server import FakeLLM
from tests.integration.llm_asking import PATIENCE_S, Ask, labels, request


@pytest.mark.parametrize(
    ("mood", "cost"),
    [
        (moods.STRICT, 0),
        (moods.DEEPSEEK, 1),
        (moods.LLAMA_CPP_PYTHON, 1),
        (Mood(forms=("json_object",)), 2),
        (Mood(forms=("text",)), 3),
        (Mood(refuses=("temperature",)), 1),
        (Mood(refuses=("max_tokens",)), 1),
        (Mood(refuses=("max_tokens", "max_completion_tokens")), 2),
        (Mood(refuses=("logprobs",)), 1),
        (moods.REASONING, 3),
    ],
)
def test_each_refused_parameter_costs_one_request_and_is_remembered(
    llm: FakeLLM, ask: Ask, mood: Mood, cost: int
) -> None:
    llm.mood = mood

    first = ask("a refund", max_tokens=500, logprobs=True)
    second = ask("an angry refund", "another refund", max_tokens=500, logprobs=True)

    assert [labels(reply)["intent"] for reply in (*first, *second)] == [("refund",)] * 3
    assert (llm.refused, len(llm.history), llm.complaints) == (cost, 3, [])


@pytest.mark.parametrize("mood", [moods.DEEPSEEK, moods.LLAMA_CPP_PYTHON, Mood(refuses=("temperature",))])
def test_a_refused_parameter_costs_one_request_with_32_in_flight(llm: FakeLLM, ask: Ask, mood: Mood) -> None:
    llm.mood = mood
    llm.refusal_latency_s = 0.1

    replies = ask(*(f"refund {number}" for number in range(32)))

    assert {labels(reply)["intent"] for reply in replies} == {("refund",)}
    assert (llm.refused, len(llm.history)) == (1, 32)


def test_nothing_waits_for_a_slow_first_request(llm: FakeLLM, ask: Ask) -> None:
    llm.latency_s = 1.5

    started = time.monotonic()
    ask(*(f"refund {number}" for number in range(8)))

    assert time.monotonic() - started < 2.9
    assert llm.max_in_flight == 8


def test_a_500_with_features_not_yet_accepted_is_looked_into_once_and_then_a_500(llm: FakeLLM, ask: Ask) -> None:
    llm.mood = Mood(forms=("json_schema", "schema"))
    llm.enqueue(Fault(500), Fault(500))

    with pytest.raises(LLMUnavailable, match="500"):
        ask("refund", LLM_MAX_RETRIES="0")

    assert [asked.body.get("response_format", {}).get("type") for asked in llm.history] == [
        "json_schema",
        "json_object",
    ]
    [reply] = ask("refund")
    assert llm.history[-1].body["response_format"]["type"] == "json_schema"
    assert labels(reply)["intent"] == ("refund",)


def test_a_server_that_500s_on_every_response_format_is_asked_without(llm: FakeLLM, ask: Ask) -> None:
    llm.mood = moods.TEXT_ONLY_500

    [reply] = ask("refund")

    assert (labels(reply)["intent"], llm.history[-1].body.get("response_format")) == (("refund",), None)


@pytest.mark.parametrize("name", ["logprobs", "max_tokens", "temperature"])
def test_a_400_that_names_nothing_is_found_out_within_one_request(llm: FakeLLM, ask: Ask, name: str) -> None:
    llm.mood = Mood(refuses=(name,), refuse=lambda name, value: Fault(400, body=" "))

    [reply] = ask("refund", max_tokens=500, logprobs=True)
    ask("refund", max_tokens=500, logprobs=True)

    assert (labels(reply)["intent"], len(llm.history), name in llm.history[-1].body) == (("refund",), 2, False)


def test_a_500_of_a_server_known_to_obey_teaches_nothing(llm: FakeLLM, ask: Ask) -> None:
    ask("refund")
    llm.enqueue(Fault(500))

    ask("refund again")

    assert [asked.body["response_format"]["type"] for asked in llm.history] == ["json_schema"] * 3


def test_a_schema_that_is_ignored_twice_is_told_in_words(llm: FakeLLM, ask: Ask) -> None:
    llm.mood = moods.IGNORING

    babbled = [ask("refund")[0].text, ask("refund")[0].text]
    [told] = ask("refund", logprobs=True)

    assert all("money" in text for text in babbled)
    assert (labels(told)["intent"], told.logprobs) == (("refund",), None)


def test_one_odd_reply_teaches_nothing(llm: FakeLLM, ask: Ask) -> None:
    llm.enqueue("no JSON", CutOff('{"answers": ['))

    for _ in range(4):
        ask("refund")

    assert {asked.body["response_format"]["type"] for asked in llm.history} == {"json_schema"}


def test_anthropics_endpoint_is_told_in_words_from_the_beginning(llm: FakeLLM, ask: Ask) -> None:
    llm.mood = moods.IGNORING

    [reply] = ask("refund", OPENAI_PROVIDER="anthropic")

    assert (labels(reply)["intent"], "response_format" in llm.history[0].body) == (("refund",), False)


def test_words_of_the_form_leave_the_beginning_the_same_for_all_tickets(llm: FakeLLM, ask: Ask) -> None:
    llm.mood = moods.DEEPSEEK

    ask("refund", "other", "refund")

    assert len({asked.instructions for asked in llm.history}) == 1


def test_logprobs_come_with_the_reply(llm: FakeLLM, ask: Ask) -> None:
    llm.answer = lambda text, asked: Verdict(("Refund", "angry"), 0.9, probability=0.6)

    [without], [having] = ask("refund"), ask("refund", logprobs=True)

    assert without.logprobs is None
    assert having.logprobs is not None
    assert "".join(token for token, _ in having.logprobs) == having.text
    unsure = {token: math.exp(log) for token, log in having.logprobs if log < -0.01}
    assert unsure == pytest.approx({"1": 0.6, "2": 0.6})


def test_other_processes_know_what_one_has_learned(
    llm: FakeLLM, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    env = {"OPENAI_API_KEY": llm.api_key, "OPENAI_BASE_URL": llm.url, "REDIS_URL": redis_url}
    settings = Settings.from_env({**env, "OPENAI_MODEL": "gone", "OPENAI_FALLBACK_MODELS": "gpt-4o"})
    llm.mood = moods.DEEPSEEK
    caplog.set_level(logging.WARNING)

    for _ in range(2):
        work = build(settings)
        work.llm.run(settings, lambda chat: chat.complete(request("refund")), PATIENCE_S)
        work.close()

    assert (llm.refused, llm.complaints) == (1, ["unknown model gone"])
    assert "refund" not in caplog.text


def test_a_reply_tells_its_price_as_openrouter_states_it(llm: FakeLLM, ask: Ask) -> None:
    completion = {
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "{}"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "cost": 0.00125, "is_byok": False},
    }
    llm.enqueue(Fault(200, body=completion))

    [reply] = ask("a refund", OPENAI_PROVIDER="openrouter")

    assert reply.cost == 0.00125


def test_a_reply_tells_its_price_as_the_settings_have_it_or_that_it_is_unknown(llm: FakeLLM, ask: Ask) -> None:
    [set_], [unknown] = ask("a refund", LLM_PRICE_INPUT="1", LLM_PRICE_OUTPUT="2"), ask("a refund")

    assert set_.cost == pytest.approx((set_.prompt_tokens + 2 * set_.completion_tokens) / 1e6)
    assert unknown.cost is None


def test_one_refusal_of_what_was_accepted_changes_nothing(llm: FakeLLM, ask: Ask) -> None:
    ask("refund 1")
    llm.enqueue(moods.as_openai("response_format", {"type": "json_schema"}))

    ask("refund 2")
    ask("refund 3")

    assert [asked.body["response_format"]["type"] for asked in llm.history] == ["json_schema"] * 4


@pytest.mark.parametrize(
    ("refusals", "then"), [(2, ["json_schema"]), (3, ["json_schema", "json_object"])], ids=["one", "two"]
)
def test_what_was_accepted_is_given_up_once_two_requests_are_refused(
    llm: FakeLLM, ask: Ask, refusals: int, then: list[str]
) -> None:
    """The first goes without, for a server may have refused what it repeats of the ticket."""
    llm.mood = Mood(forms=("json_schema", "schema", "json_object", "text"))
    ask("refund 1")
    refusal = moods.as_openai("response_format", {"type": "json_schema"})
    llm.enqueue(refusal, refusal, Hang(0), *[refusal] * (refusals - 2))

    ask("refund 2")
    ask("refund 3")

    forms = [asked.body.get("response_format", {}).get("type") for asked in llm.history]
    assert forms == [*["json_schema"] * 3, "json_object", *then]
