"""Completions of careless servers."""

from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from prelabel.llm.exchange import ChatReply
from prelabel.llm.refusals import Refused
from prelabel.llm.replies import EMPTY, read_completion


def read(**body: Any) -> ChatReply:
    return read_completion(ChatCompletion.construct(None, **body), {})


def choice(**fields: Any) -> dict[str, Any]:
    return {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop", **fields}


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        ({"choices": [choice()]}, ChatReply("hi")),
        ({"choices": [choice()], "model": "m"}, ChatReply("hi", model="m")),
        ({"choices": []}, ChatReply("", EMPTY)),
        ({}, ChatReply("", EMPTY)),
        ({"choices": [choice(message={"content": None})]}, ChatReply("", EMPTY)),
        ({"choices": [choice(message={"content": " "})]}, ChatReply("", EMPTY)),
        ({"choices": [choice(message={"content": [{"type": "text", "text": "a"}, {"text": "b"}]})]}, ChatReply("ab")),
        (
            {"choices": [choice(finish_reason="length")]},
            ChatReply("hi", "the LLM's reply was cut off", is_cut_off=True),
        ),
        (
            {"choices": [choice(finish_reason="content_filter")]},
            ChatReply("", "the LLM refused to answer", is_refusal=True),
        ),
        (
            {"choices": [choice(message={"refusal": "No."})]},
            ChatReply("", "the LLM refused to answer", is_refusal=True),
        ),
        (
            {"choices": [choice(logprobs={"content": [{"token": "hi", "logprob": -0.5}]})]},
            ChatReply("hi", logprobs=(("hi", -0.5),)),
        ),
        ({"choices": [choice(logprobs={"tokens": ["hi"], "token_logprobs": [-0.5]})]}, ChatReply("hi")),
    ],
)
def test_a_completion_is_read(body: dict[str, Any], reply: ChatReply) -> None:
    assert read(**body) == reply


@pytest.mark.parametrize(
    ("tokens", "logprobs"),
    [
        (
            [{"token": "\\xf0\\x9f", "bytes": [240, 159], "logprob": -1}, {"token": " h", "bytes": None, "logprob": 0}],
            (("\ufffd", -1.0), (" h", 0.0)),
        ),
        ([{"token": "hi", "bytes": 10**12, "logprob": "-0.5"}], (("hi", -0.5),)),
        ([{"token": None, "logprob": -9999.0, "top_logprobs": "none"}], (("None", -9999.0),)),
        ([{"token": "hi", "bytes": [300], "logprob": -0.5}], None),
        ([{"token": "hi", "bytes": ["h"], "logprob": -0.5}], None),
        ([{"token": "hi", "logprob": None}], None),
        ([{"token": "hi", "logprob": "low"}], None),
        ([{"token": "hi", "logprob": -(10**400)}], None),
        ([{"token": "hi"}], None),
        ([None], None),
        (["hi"], None),
        ([], None),
        ("hi", None),
        (7, None),
        (None, None),
    ],
)
def test_logprobs_are_read_or_none_and_never_cost_an_answer(tokens: object, logprobs: object) -> None:
    assert read(choices=[choice(logprobs={"content": tokens})]) == ChatReply("hi", logprobs=logprobs)  # type: ignore[arg-type]


@pytest.mark.parametrize("logprobs", [[], [1], "none", 0, {}, {"content": {}}, {"content": {"token": "hi"}}])
def test_logprobs_of_another_form_are_none(logprobs: object) -> None:
    assert read(choices=[choice(logprobs=logprobs)]) == ChatReply("hi")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"code": 402, "message": "Insufficient credits"}}, 402),
        ({"error": {"code": "odd"}}, 502),
        ({"error": "no"}, 502),
        ({"choices": [choice(error={"code": 429, "message": "slow down"}, finish_reason="error")]}, 429),
    ],
)
def test_an_error_in_a_body_of_status_200_is_one(body: dict[str, Any], status: int) -> None:
    with pytest.raises(Refused) as refused:
        read(**body)

    assert refused.value.refusal.status == status


@pytest.mark.parametrize("body", [{"choices": "hi"}, {"choices": [1]}, {"choices": {"a": 1}}])
def test_what_is_no_completion_is_told_apart_from_a_bug(body: dict[str, Any]) -> None:
    with pytest.raises((AttributeError, TypeError, LookupError)):
        read(**body)


@pytest.mark.parametrize("counted", ["12", 12.5, -4, None, [12], {"sum": 12}])
def test_tokens_that_are_no_number_count_as_none(counted: object) -> None:
    reply = read(choices=[choice()], usage={"prompt_tokens": counted, "completion_tokens": 3})

    assert (reply.prompt_tokens, reply.completion_tokens) == (0, 3)
