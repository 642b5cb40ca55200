"""What the fake LLM server spoils, as OpenAI's own client sees it."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

from prelabel.core.prompt import build_messages
from prelabel.core.schema import reply_schema
from prelabel.core.types import Choices, Label, Ticket
from prelabel.llm.forms import Form, response_format
from tests.fakes import llm_faults as faults
from tests.fakes.llm_faults import FaultMix
from tests.fakes.llm_moods import as_openai
from tests.fakes.llm_replies import Reply
from tests.fakes.llm_server import FakeLLM

INTENT = Choices("intent", "text", (Label("refund", "Refund"), Label("late", "Late delivery"), Label("other", "Other")))
TEXTS = ("a refund", "late delivery", "other", "late delivery again", "refund")
Answers = list[dict[str, Any]]


@pytest.fixture
def client(llm: FakeLLM) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=llm.api_key, base_url=llm.url, max_retries=0, timeout=5) as client:
        yield client


def ask(client: openai.OpenAI, *texts: str, **more: Any) -> ChatCompletion:
    messages = build_messages((INTENT,), "", [Ticket(number, text) for number, text in enumerate(texts, 1)])
    body: dict[str, Any] = {
        "model": "gpt-4o-mini",
        "temperature": 0,
        "messages": [{"role": message.role, "content": message.content} for message in messages],
        "response_format": response_format(Form.STRICT, reply_schema((INTENT,))),
        **more,
    }
    completion: ChatCompletion = client.chat.completions.create(**body)
    return completion


def content(completion: ChatCompletion) -> str:
    return completion.choices[0].message.content or ""


def answers(text: str) -> Answers:
    read: Answers = json.loads(text)["answers"]
    return read


def pair(llm: FakeLLM, client: openai.OpenAI, fault: Reply, *texts: str) -> tuple[str, ChatCompletion]:
    """The honest reply and the spoilt one."""
    honest = ask(client, *texts)
    llm.enqueue(fault)
    return content(honest), ask(client, *texts)


@pytest.mark.parametrize("fault", [faults.MALFORMED, faults.PROSE, faults.FENCED])
def test_what_stands_around_or_breaks_json_is_no_json(llm: FakeLLM, client: openai.OpenAI, fault: Reply) -> None:
    honest, spoilt = pair(llm, client, fault, *TEXTS)

    with pytest.raises(json.JSONDecodeError):
        json.loads(content(spoilt))
    assert (honest in content(spoilt)) is (fault is not faults.MALFORMED)


def test_a_cut_off_reply_is_the_honest_ones_first_half(llm: FakeLLM, client: openai.OpenAI) -> None:
    honest, spoilt = pair(llm, client, faults.CUT_OFF, *TEXTS)

    assert (content(spoilt), spoilt.choices[0].finish_reason) == (honest[: len(honest) // 2], "length")


def test_misspelled_labels_are_their_texts_in_another_case_and_with_other_spaces(
    llm: FakeLLM, client: openai.OpenAI
) -> None:
    _, spoilt = pair(llm, client, faults.MISSPELLED, *TEXTS[:3])

    assert [answer["label"] for answer in answers(content(spoilt))] == ["  rEFUND ", "  lATE  DELIVERY ", "  oTHER "]


def test_foreign_labels_are_of_no_config(llm: FakeLLM, client: openai.OpenAI) -> None:
    _, spoilt = pair(llm, client, faults.FOREIGN, *TEXTS)

    assert {answer["label"] for answer in answers(content(spoilt))} == {faults.FOREIGN_LABEL}


def test_wrong_ids_are_nobodys(llm: FakeLLM, client: openai.OpenAI) -> None:
    honest, spoilt = pair(llm, client, faults.WRONG_IDS, *TEXTS)

    right, wrong = ([answer["id"] for answer in answers(text)] for text in (honest, content(spoilt)))
    assert (len(wrong), set(wrong) & set(right)) == (5, set())


def test_doubled_ids_contradict_each_other(llm: FakeLLM, client: openai.OpenAI) -> None:
    honest, spoilt = pair(llm, client, faults.DOUBLED_IDS, *TEXTS)

    first, doubles = answers(content(spoilt))[:5], answers(content(spoilt))[5:]
    labels = {answer["id"]: answer["label"] for answer in first}
    assert first == answers(honest)
    assert [double["id"] for double in doubles] == [answer["id"] for answer in first[::2]]
    assert all(double["label"] != labels[double["id"]] for double in doubles)


@pytest.mark.parametrize(("texts", "left"), [(TEXTS, 2), (TEXTS[:1], 0)])
def test_of_missing_ids_every_other_is_there(
    llm: FakeLLM, client: openai.OpenAI, texts: tuple[str, ...], left: int
) -> None:
    honest, spoilt = pair(llm, client, faults.MISSING_IDS, *texts)

    assert answers(content(spoilt)) == answers(honest)[1::2]
    assert len(answers(content(spoilt))) == left


def test_logprobs_may_be_missing_though_asked_for(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.enqueue(faults.NO_LOGPROBS)

    without, having = (ask(client, "refund", logprobs=True) for _ in range(2))

    assert (without.choices[0].logprobs, content(without)) == (None, content(having))
    assert having.choices[0].logprobs is not None


def test_a_parameter_is_refused_only_where_it_was_sent(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.enqueue(faults.UNSUPPORTED, faults.UNSUPPORTED_500, faults.refused(as_openai, "seed"))

    with pytest.raises(openai.BadRequestError, match="temperature"):
        ask(client, "refund")
    with pytest.raises(openai.InternalServerError):
        ask(client, "refund")
    assert answers(content(ask(client, "refund")))[0]["id"] == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (faults.QUOTA, "insufficient_quota"),
        (faults.UNAUTHORIZED, "invalid_api_key"),
        (faults.FORBIDDEN, None),
        (faults.UNKNOWN_MODEL, "model_not_found"),
    ],
)
def test_fatal_refusals_name_their_code(llm: FakeLLM, client: openai.OpenAI, fault: Reply, code: str | None) -> None:
    llm.enqueue(fault)

    with pytest.raises(openai.APIStatusError) as refused:
        ask(client, "refund")
    assert refused.value.code == code


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_reply_longer_than_the_request_allows_is_cut_off(llm: FakeLLM, client: openai.OpenAI, name: str) -> None:
    honest, cut = content(ask(client, *TEXTS)), ask(client, *TEXTS, **{name: 10})
    whole = ask(client, *TEXTS, **{name: len(honest) // 4 + 1})

    assert (content(cut), cut.choices[0].finish_reason) == (honest[:40], "length")
    assert (content(whole), whole.choices[0].finish_reason) == (honest, "stop")


@pytest.mark.parametrize("kind", faults.REPLIES)
def test_every_spoilt_reply_is_a_whole_completion(llm: FakeLLM, client: openai.OpenAI, kind: str) -> None:
    _, spoilt = pair(llm, client, faults.REPLIES[kind], "refund")

    assert spoilt.choices[0].message.role == "assistant"
    assert llm.complaints == []


def test_a_mix_spoils_its_share_the_same_way_for_the_same_seed(llm: FakeLLM, client: openai.OpenAI) -> None:
    draws = [[mix.draw() for _ in range(1000)] for mix in (FaultMix(0.2, seed=1), FaultMix(0.2, seed=1))]
    llm.faults = FaultMix(0.5, ["empty", "refusal"], seed=1)

    replies = [content(ask(client, "refund")) for _ in range(40)]

    assert draws[0] == draws[1]
    assert 150 < sum(drawn is not None for drawn in draws[0]) < 250
    assert sum(reply == "" for reply in replies) == llm.faults.drawn.total()
    assert set(llm.faults.drawn) == {"empty", "refusal"}
