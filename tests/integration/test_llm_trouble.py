"""What becomes of one request where a server refuses, fails or is at its limit, and which other is asked, over HTTP."""

import time
from collections.abc import Iterator

import pytest

from prelabel.errors import LLMError, LLMRefusesContent, LLMRefusesForm, LLMRefusesRequest, LLMUnavailable
from tests.fakes.llm_replies import Drop, Fault, Hang, error_body
from tests.fakes.llm_server import FakeLLM
from tests.integration.llm_asking import Ask, labels


@pytest.fixture
def other() -> Iterator[FakeLLM]:
    with FakeLLM() as server:
        server.api_key = "other-key"
        server.models = ("other",)
        yield server


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


def test_what_openais_client_would_take_from_the_environment_reaches_nobody(
    llm: FakeLLM, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway-Key: secret")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")

    ask("refund")

    assert "secret" not in str(llm.history[0].headers)


def test_a_fallback_on_the_main_server_has_its_key(llm: FakeLLM, ask: Ask) -> None:
    llm.enqueue(Fault(503))

    [reply] = ask("refund", OPENAI_FALLBACK_MODELS=f"gpt-4o@{llm.url}", LLM_MAX_RETRIES="0")

    assert (reply.model, reply.is_stand_in) == ("gpt-4o", True)
