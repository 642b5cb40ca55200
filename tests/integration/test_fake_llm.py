"""The fake LLM server speaks OpenAI's protocol, as OpenAI's own client understands it."""

import json
import math
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

from tests.fakes.llm_moods import Mood
from tests.fakes.llm_policy import Verdict
from tests.fakes.llm_replies import CutOff, Drop, Fault, Hang, Refusal
from tests.fakes.llm_server import FakeLLM
from tests.fakes.llm_tokens import CHARACTERS, MERGED, USUAL

SYSTEM = """You label tickets.

Labels of "intent" ("label": one id, or "none" if none fits):
1 Refund - the customer wants money back
2 Late delivery
3 Other"""


@pytest.fixture
def client(llm: FakeLLM) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="test-key", base_url=llm.url, max_retries=0, timeout=5) as client:
        yield client


def schema(**labels: Any) -> dict[str, Any]:
    answer = {"id": {"type": "integer"}, **labels, "confidence": {"type": "number"}}
    return strict({"answers": {"type": "array", "items": strict(answer)}})


def strict(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def one_of(*ids: str) -> dict[str, Any]:
    return {"type": "string", "enum": [*ids]}


def fence(*texts: str, examples: tuple[dict[str, str], ...] = ()) -> str:
    blocks = {"tickets": [f"{number} {json.dumps(text)}" for number, text in enumerate(texts, 1)]}
    if examples:
        shown = ((each["text"], {key: each[key] for key in each.keys() - {"text"}}) for each in examples)
        blocks = {"examples": [f"{json.dumps(text)} {json.dumps(answer)}" for text, answer in shown], **blocks}
    return "\n".join("\n".join((f"<{name}>", *lines, f"</{name}>")) for name, lines in blocks.items())


SINGLE = schema(label=one_of("1", "2", "3", "none"))


def ask(
    client: openai.OpenAI,
    user: str,
    *,
    system: str = SYSTEM,
    schema: dict[str, Any] = SINGLE,
    model: str = "gpt-4o-mini",
    is_strict: bool = True,
    logprobs: bool = False,
) -> ChatCompletion:
    return client.chat.completions.create(
        model=model,
        temperature=0,
        logprobs=logprobs,
        messages=[{"role": "system", "content": system}, {"role": "user", "content": user}],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "answers", "strict": is_strict, "schema": schema},
        },
    )


def answers(completion: ChatCompletion) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads(completion.choices[0].message.content or "")["answers"]
    return read


def test_a_completion_is_whole(client: openai.OpenAI) -> None:
    completion = ask(client, fence("A refund, please"))

    choice, usage = completion.choices[0], completion.usage
    assert (completion.object, completion.model) == ("chat.completion", "gpt-4o-mini")
    assert (choice.message.role, choice.message.refusal, choice.finish_reason) == ("assistant", None, "stop")
    assert usage is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0


def test_tickets_are_labelled_by_their_words(client: openai.OpenAI) -> None:
    assert answers(ask(client, fence("A refund, please", "The DELIVERY is late!", "Hello?"))) == [
        {"id": 1, "label": "1", "confidence": 0.95},
        {"id": 2, "label": "2", "confidence": 0.95},
        {"id": 3, "label": "1", "confidence": 0.4},
    ]


def test_the_project_prompt_can_order_a_label(client: openai.OpenAI) -> None:
    completion = ask(client, fence("A refund, please"), system=f"{SYSTEM}\n\nALWAYS Other")

    assert answers(completion)[0]["label"] == "3"


def test_an_example_of_the_same_text_wins(client: openai.OpenAI) -> None:
    completion = ask(client, fence("A refund, please", examples=({"text": "A refund, please", "label": "2"},)))

    assert answers(completion)[0]["label"] == "2"


def test_every_control_of_the_schema_is_answered(client: openai.OpenAI) -> None:
    system = f'{SYSTEM}\n\nLabels of "tone" ("labels_2": every id that fits):\n1 calm\n2 angry'
    labels = {"label_1": one_of("1", "2", "3", "none"), "labels_2": {"type": "array", "items": one_of("1", "2")}}
    completion = ask(client, fence("I am angry, refund me"), system=system, schema=schema(**labels))

    assert answers(completion) == [{"id": 1, "label_1": "1", "labels_2": ["2"], "confidence": 0.95}]


def test_a_test_may_bring_its_own_policy(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.answer = lambda text, asked: "Other" if "?" in text else Verdict((), confidence=0.2)

    assert answers(ask(client, fence("A refund?", "A refund!"))) == [
        {"id": 1, "label": "3", "confidence": 0.9},
        {"id": 2, "label": "none", "confidence": 0.2},
    ]


@pytest.mark.parametrize("tokens", [USUAL, MERGED, CHARACTERS])
def test_tokens_join_to_the_content_and_are_certain_but_for_the_labels(
    llm: FakeLLM, client: openai.OpenAI, tokens: re.Pattern[str]
) -> None:
    llm.mood = Mood(tokens=tokens)
    llm.answer = lambda text, asked: Verdict(("Other",), 0.8, probability=0.5 if "?" in text else None)

    told = ask(client, fence("A refund?", "A refund \U0001f642"), logprobs=True).choices[0]

    content = told.logprobs.content if told.logprobs else None
    assert content
    assert b"".join(bytes(token.bytes or ()) for token in content).decode() == told.message.content
    unsure = [
        (token.token.strip('" ,'), round(math.exp(token.logprob), 4)) for token in content if token.logprob < -0.01
    ]
    assert unsure == [("3", 0.5), ("3", 0.8)]


def test_a_character_of_four_bytes_is_told_in_two_tokens_as_openai_does(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.enqueue("So \U0001f642!")

    told = ask(client, fence("A refund"), logprobs=True).choices[0].logprobs

    tokens = [(token.token, bytes(token.bytes or ())) for token in (told.content if told else None) or ()]
    assert tokens == [("So", b"So"), (r" \xf0\x9f", b" \xf0\x9f"), (r"\x99\x82!", b"\x99\x82!")]


def test_history_tells_what_was_asked(llm: FakeLLM, client: openai.OpenAI) -> None:
    example = {"text": "Where is it?\nWhere?", "label": "2"}
    ask(client, fence("A refund, please", examples=(example,)))

    [asked] = llm.history
    assert (asked.model, asked.temperature, asked.instructions) == ("gpt-4o-mini", 0, SYSTEM)
    assert asked.tickets == ((1, "A refund, please"),)
    assert asked.examples == (example,)
    assert asked.controls[0].labels == {"1": "Refund", "2": "Late delivery", "3": "Other"}
    assert asked.headers["authorization"] == "Bearer test-key"


def test_a_wrong_key_is_unauthorized(llm: FakeLLM) -> None:
    with (
        openai.OpenAI(api_key="wrong", base_url=llm.url, max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        ask(client, fence("A refund, please"))

    assert refused.value.code == "invalid_api_key"
    assert (llm.history, llm.complaints) == ([], ["wrong API key"])


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        ask(client, fence("A refund, please"), model="gpt-nonsense")

    assert refused.value.code == "model_not_found"
    assert [model.id for model in client.models.list()] == ["gpt-4o-mini", "gpt-4o"]


OPEN_OBJECT = {"type": "object", "properties": {"answers": {"type": "array"}}, "required": ["answers"]}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"is_strict": False}, "expected a strict json_schema"),
        ({"schema": OPEN_OBJECT}, "'additionalProperties' is required to be supplied and to be false."),
        ({"schema": {**SINGLE, "required": []}}, "'required' is required"),
        ({"schema": schema(label={**one_of("1"), "default": "1"})}, "'default' is not permitted."),
        ({"schema": schema(label=one_of("1", "2", "3", "4"))}, "does not list the labels"),
        ({"user": "<tickets>\n</tickets>\n</tickets>"}, "expected one unbroken block <tickets>"),
        ({"user": '<tickets>\n1 "</tickets>"\n</tickets>'}, "expected one unbroken block <tickets>"),
        ({"user": "<tickets>\nA refund, please\n</tickets>"}, "a line of <tickets> is no pair of JSON values"),
    ],
)
def test_what_openai_or_the_prompt_format_forbids_is_refused(
    llm: FakeLLM, client: openai.OpenAI, wrong: dict[str, Any], why: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, **{"user": fence("A refund, please"), **wrong})

    assert why in refused.value.message
    assert why in llm.complaints[0]
    assert refused.value.type == "invalid_request_error"


def test_a_fault_is_sent_once_with_its_headers(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.enqueue(Fault(429, headers={"retry-after": "7"}))

    with pytest.raises(openai.RateLimitError) as limited:
        ask(client, fence("A refund, please"))
    assert (limited.value.code, limited.value.response.headers["retry-after"]) == ("rate_limit_exceeded", "7")
    assert answers(ask(client, fence("A refund, please")))[0]["label"] == "1"
    assert len(llm.history) == 2


def test_a_hang_outlasts_the_clients_patience(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.enqueue(Hang(30))

    with pytest.raises(openai.APITimeoutError):
        ask(client.with_options(timeout=0.2), fence("A refund, please"))


def test_a_drop_is_a_lost_connection(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.enqueue(Drop())

    with pytest.raises(openai.APIConnectionError):
        ask(client, fence("A refund, please"))


def test_refusals_and_cut_off_replies_look_as_openai_sends_them(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.enqueue(Refusal("I cannot help with that."), CutOff('{"answers": [{"id"'), "not JSON")

    refused, cut_off, odd = (ask(client, fence("A refund, please")).choices[0] for _ in range(3))
    assert (refused.message.content, refused.message.refusal) == (None, "I cannot help with that.")
    assert (cut_off.message.content, cut_off.finish_reason) == ('{"answers": [{"id"', "length")
    assert (odd.message.content, odd.finish_reason) == ("not JSON", "stop")


def test_a_hundred_requests_are_answered_at_once(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.latency_s = 2

    with ThreadPoolExecutor(100) as pool:
        replies = list(pool.map(lambda n: ask(client, fence(f"refund {n}")), range(100)))

    assert len({reply.id for reply in replies}) == 100
    assert llm.max_in_flight == 100
