"""What happens to one request at servers of every kind, over HTTP."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator

import pytest

from prelabel.bootstrap import build
from prelabel.config import Settings
from prelabel.core.parse import parse_reply
from prelabel.core.prompt import build_messages
from prelabel.core.schema import reply_schema
from prelabel.core.types import Choices, Label, Labeled, Ticket
from prelabel.errors import LLMError, LLMRefusesContent, LLMRefusesForm, LLMRefusesRequest, LLMUnavailable
from prelabel.llm.exchange import ChatReply, ChatRequest
from prelabel.llm.fallbacks import Chat
from prelabel.llm.loop import LLM
from tests.fakes import llm_moods as moods
from tests.fakes.llm_moods import Mood
from tests.fakes.llm_replies import CutOff, Drop, Fault, Hang, error_body
from tests.fakes.llm_server import FakeLLM

INTENT = Choices("intent", "text", (Label("refund", "Refund"), Label("other", "Other")))
QUESTIONS = (INTENT, Choices("tone", "text", (Label("calm", "calm"), Label("angry", "angry")), multiple=True))
PATIENCE_S = 20.0

Ask = Callable[..., list[ChatReply]]


@pytest.fixture
def ask(llm: FakeLLM) -> Iterator[Ask]:
    """Ask about tickets, each in a request of its own, all at once; what is learned stays for the next call."""
    asking = LLM(64)

    def ask(*texts: str, max_tokens: int | None = None, logprobs: bool = False, **env: str) -> list[ChatReply]:
        settings = Settings.from_env({"OPENAI_API_KEY": llm.api_key, "OPENAI_BASE_URL": llm.url, **env})

        async def all_at_once(chat: Chat) -> list[ChatReply]:
            asked = (request(text, max_tokens, logprobs=logprobs) for text in texts)
            return list(await asyncio.gather(*map(chat.complete, asked)))

        return asking.run(settings, all_at_once, PATIENCE_S)

    yield ask
    asking.close()


@pytest.fixture
def other() -> Iterator[FakeLLM]:
    with FakeLLM() as server:
        server.api_key = "other-key"
        server.models = ("other",)
        yield server


def request(text: str, max_tokens: int | None = None, *, logprobs: bool = False) -> ChatRequest:
    messages = build_messages(QUESTIONS, "Be fair.", [Ticket(1, text)])
    return ChatRequest(messages, reply_schema(QUESTIONS), max_tokens, logprobs)


def labels(reply: ChatReply) -> dict[str, tuple[str, ...]]:
    answer = parse_reply(reply.text, QUESTIONS, 1)[1]
    assert isinstance(answer, Labeled)
    return dict(answer.labels)


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
    [without], [having] = ask("refund"), ask("refund", logprobs=True)

    assert without.logprobs is None
    assert having.logprobs is not None
    assert " ".join(token for token, _ in having.logprobs) == having.text
    assert having.logprobs[0][1] == -0.1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(401), LLMRefusesRequest),
        (Fault(402), LLMRefusesRequest),
        (Fault(403), LLMRefusesRequest),
        (Fault(404), LLMRefusesRequest),
        (Fault(429, body=error_body("...", kind="insufficient_quota", code="insufficient_quota")), LLMRefusesRequest),
        (Fault(400), LLMRefusesForm),
        (Fault(400, body=error_body("...", code="context_length_exceeded")), LLMRefusesContent),
    ],
)
def test_what_would_be_refused_again_is_not_tried_again(
    llm: FakeLLM, ask: Ask, fault: Fault, error: type[LLMError]
) -> None:
    llm.enqueue(fault)

    with pytest.raises(LLMError) as raised:
        ask("refund")

    assert (type(raised.value), len(llm.history)) == (error, 1)


@pytest.mark.parametrize(
    "fault", [Fault(500), Fault(502), Fault(503), Fault(529), Fault(408), Drop(), Fault(200, body="<p>")]
)
def test_what_passes_by_itself_is_tried_again_so_often_and_no_more(llm: FakeLLM, ask: Ask, fault: Fault | Drop) -> None:
    ask("refund")
    llm.enqueue(fault, fault, fault)

    with pytest.raises(LLMUnavailable):
        ask("refund", LLM_MAX_RETRIES="2")

    assert len(llm.history) == 4


def test_a_server_that_hangs_is_given_up_on_in_time(llm: FakeLLM, ask: Ask) -> None:
    llm.enqueue(Hang(30))

    with pytest.raises(LLMUnavailable, match=r"LLM_TIMEOUT=0\.3"):
        ask("refund", LLM_TIMEOUT="0.3", LLM_MAX_RETRIES="0")


@pytest.mark.parametrize(
    ("headers", "at_least_s"), [({"retry-after-ms": "350"}, 0.35), ({"retry-after": "1"}, 1.0), ({}, 0.5)]
)
def test_a_429_is_waited_out_and_uses_up_no_retry(
    llm: FakeLLM, ask: Ask, headers: dict[str, str], at_least_s: float
) -> None:
    llm.enqueue(*(Fault(429, headers=headers),) * 2)

    started = time.monotonic()
    [reply] = ask("refund", LLM_MAX_RETRIES="1")

    assert labels(reply)["intent"] == ("refund",)
    assert time.monotonic() - started >= 2 * at_least_s


def test_a_429_holds_all_callers_of_the_key(llm: FakeLLM, ask: Ask) -> None:
    ask("refund")
    llm.enqueue(Fault(429, headers={"retry-after-ms": "600"}))
    started = time.monotonic()

    ask(*["refund"] * 4, LLM_CONCURRENCY="1")

    assert time.monotonic() - started >= 0.6
    assert len(llm.history) == 6


def test_without_retries_a_429_is_an_error(llm: FakeLLM, ask: Ask) -> None:
    llm.enqueue(Fault(429))

    with pytest.raises(LLMUnavailable, match="429"):
        ask("refund", LLM_MAX_RETRIES="0")


@pytest.mark.parametrize("status", [401, 402, 404])
def test_another_model_steps_in_where_the_first_refuses(llm: FakeLLM, other: FakeLLM, ask: Ask, status: int) -> None:
    env = {"OPENAI_FALLBACK_MODELS": f"other@{other.url}", "OPENAI_FALLBACK_API_KEYS": "other-key"}
    llm.enqueue(Fault(status))

    [first], [second] = ask("refund", **env), ask("refund", **env)

    assert (first.model, second.model) == ("other", "other")
    assert (len(llm.history), len(other.history)) == (1, 2)
    assert {asked.headers["authorization"] for asked in other.history} == {"Bearer other-key"}


def test_the_main_key_never_goes_to_another_host(llm: FakeLLM, other: FakeLLM, ask: Ask) -> None:
    other.api_key = "none"
    llm.enqueue(Fault(404))

    ask("refund", OPENAI_FALLBACK_MODELS=f"other@{other.url}")

    assert [asked.headers["authorization"] for asked in other.history] == ["Bearer none"]


def test_another_model_of_the_same_server_steps_in_with_the_same_key(llm: FakeLLM, ask: Ask) -> None:
    [reply] = ask("refund", OPENAI_MODEL="gone", OPENAI_FALLBACK_MODELS="gone too, gpt-4o")

    assert (reply.model, llm.complaints) == ("gpt-4o", ["unknown model gone", "unknown model gone too"])


def test_where_all_fail_the_first_ones_reason_is_told(llm: FakeLLM, other: FakeLLM, ask: Ask) -> None:
    other.enqueue(Fault(404))
    env = {"OPENAI_FALLBACK_MODELS": f"other@{other.url}", "OPENAI_FALLBACK_API_KEYS": "other-key"}
    llm.enqueue(Fault(402))

    with pytest.raises(LLMRefusesRequest, match="402"):
        ask("refund", **env)


def test_another_model_is_asked_where_the_first_calls_a_request_bad_and_is_asked_first_again(
    llm: FakeLLM, other: FakeLLM, ask: Ask
) -> None:
    env = {"OPENAI_FALLBACK_MODELS": f"other@{other.url}", "OPENAI_FALLBACK_API_KEYS": "other-key"}
    llm.enqueue(Fault(400))

    [first], [second] = ask("refund", **env), ask("refund", **env)

    assert (first.model, second.model) == ("other", "gpt-4o-mini")


def test_a_text_that_is_refused_is_no_reason_to_ask_another_model(llm: FakeLLM, other: FakeLLM, ask: Ask) -> None:
    llm.enqueue(Fault(400, body=error_body("...", code="content_filter")))

    with pytest.raises(LLMRefusesContent):
        ask("refund", OPENAI_FALLBACK_MODELS=f"other@{other.url}", OPENAI_FALLBACK_API_KEYS="other-key")

    assert other.history == []


def test_openrouter_is_left_to_fall_back_by_itself(llm: FakeLLM, ask: Ask) -> None:
    ask("refund", OPENAI_PROVIDER="openrouter", OPENAI_FALLBACK_MODELS="gpt-4o,c,d,e")

    assert [asked.body["models"] for asked in llm.history] == [["gpt-4o-mini", "gpt-4o", "c"]]


def test_an_error_within_a_completion_is_an_error(llm: FakeLLM, ask: Ask) -> None:
    error = {"error": {"code": 402, "message": "Insufficient credits"}, "user_id": "u"}
    llm.enqueue(Fault(200, body=error))

    with pytest.raises(LLMRefusesRequest, match="402"):
        ask("refund")


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


def test_what_openais_client_would_take_from_the_environment_reaches_nobody(
    llm: FakeLLM, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway-Key: secret")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")

    ask("refund")

    assert "secret" not in str(llm.history[0].headers)


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


def test_a_fallback_on_the_main_server_has_its_key(llm: FakeLLM, ask: Ask) -> None:
    llm.enqueue(Fault(503))

    [reply] = ask("refund", OPENAI_FALLBACK_MODELS=f"gpt-4o@{llm.url}", LLM_MAX_RETRIES="0")

    assert (reply.model, reply.is_stand_in) == ("gpt-4o", True)
