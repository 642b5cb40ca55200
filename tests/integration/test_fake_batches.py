"""The fake LLM server's Batch API behaves as OpenAI documents it, as OpenAI's own client understands it."""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import openai
import pytest
from openai.types import Batch

from tests.fakes.llm_batches import After, Lot
from tests.fakes.llm_replies import Drop, Fault
from tests.fakes.llm_server import FakeLLM
from tests.integration.test_fake_llm import SINGLE, SYSTEM, fence

TERMINAL = {"completed", "failed", "expired", "cancelled"}


@pytest.fixture
def client(llm: FakeLLM) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="test-key", base_url=llm.url, max_retries=0, timeout=5) as client:
        yield client


def row(custom_id: str, text: str = "A refund, please", **more: Any) -> str:
    form = {"type": "json_schema", "json_schema": {"name": "answers", "strict": True, "schema": SINGLE}}
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": fence(text)}]
    body = {"model": "gpt-4o-mini", "temperature": 0, "messages": messages, "response_format": form}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body, **more})


def create(client: openai.OpenAI, *rows: str) -> Batch:
    content = "".join(f"{each}\n" for each in rows).encode()
    file = client.files.create(file=("tickets.jsonl", content), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"run": "7"}
    )


def lines(client: openai.OpenAI, file_id: str | None) -> dict[str, Any]:
    if file_id is None:
        return {}
    read = [json.loads(line) for line in client.files.content(file_id).text.splitlines()]
    return {each["custom_id"]: each for each in read}


def test_a_batch_goes_through_its_states_in_their_time(llm: FakeLLM, client: openai.OpenAI) -> None:
    now = count()
    llm.batches.clock = lambda: next(now)
    llm.batches.stages = {"validating": 2, "in_progress": 2, "finalizing": 2, "cancelling": 2}

    batch = create(client, row("a"), row("b"))
    seen = [batch.status, *(client.batches.retrieve(batch.id).status for _ in range(9))]

    assert list(dict.fromkeys(seen)) == ["validating", "in_progress", "finalizing", "completed"]


def test_answers_and_errors_stand_in_two_files(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.batches.fates = {"b": Fault(400), "c": Lot.EXPIRED}

    batch = client.batches.retrieve(create(client, row("a"), row("b"), row("c")).id)

    assert batch.request_counts
    assert (batch.status, batch.metadata, batch.request_counts.to_dict()) == (
        "completed",
        {"run": "7"},
        {"total": 3, "completed": 1, "failed": 2},
    )
    answered, failed = lines(client, batch.output_file_id), lines(client, batch.error_file_id)
    assert answered["a"]["response"]["body"]["choices"][0]["message"]["content"]
    assert (failed["b"]["response"]["status_code"], failed["b"]["error"]) == (400, None)
    assert (failed["c"]["response"], failed["c"]["error"]["code"]) == (None, "batch_expired")


def test_a_batch_in_which_every_row_fails_is_completed_without_an_output_file(
    llm: FakeLLM, client: openai.OpenAI
) -> None:
    llm.batches.usual_fate = Fault(429)

    batch = client.batches.retrieve(create(client, row("a")).id)

    assert (batch.status, batch.output_file_id, batch.error_file_id is None) == ("completed", None, False)


def test_a_batch_may_expire_half_done(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.batches.expires, llm.batches.share_done = True, 0.5

    batch = client.batches.retrieve(create(client, *map(row, "abcd")).id)

    assert (batch.status, batch.expired_at is None) == ("expired", False)
    assert (set(lines(client, batch.output_file_id)), set(lines(client, batch.error_file_id))) == (set("ab"), set("cd"))


def test_a_cancelled_batch_keeps_what_was_done(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.batches.stages["in_progress"] = 1000
    llm.batches.share_done = 0.5
    batch = create(client, *map(row, "abcd"))

    assert client.batches.cancel(batch.id).status == "cancelling"
    batch = client.batches.retrieve(batch.id)

    failed = lines(client, batch.error_file_id)
    assert (batch.status, set(lines(client, batch.output_file_id))) == ("cancelled", set("ab"))
    assert {each["error"]["code"] for each in failed.values()} == {"batch_cancelled"}
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)


@pytest.mark.parametrize(
    ("rows", "code", "line"),
    [
        ([row("a"), '{"custom_id": '], "invalid_json_line", 2),
        ([row("a"), row("a")], "duplicate_custom_id", 2),
        ([row("a", url="/v1/embeddings")], "invalid_url", 1),
        ([row("a", body={"model": "gpt-nonsense", "messages": []})], "model_not_found", 1),
        ([row("")], "missing_required_parameter", 1),
        ([], "empty_file", None),
        ([row("a"), row("b"), row("c"), row("d")], "too_many_tasks", None),
    ],
)
def test_a_file_with_a_bad_line_fails_as_a_whole(
    llm: FakeLLM, client: openai.OpenAI, rows: list[str], code: str, line: int | None
) -> None:
    llm.batches.most_requests = 3

    created = create(client, *rows)
    batch = client.batches.retrieve(created.id)

    assert (created.status, batch.status, batch.output_file_id) == ("validating", "failed", None)
    assert batch.errors
    assert batch.errors.data
    assert (batch.errors.data[0].code, batch.errors.data[0].line, llm.history) == (code, line, [])


def test_a_full_queue_fails_the_batch_until_others_have_ended(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.batches.stages["in_progress"] = 1000
    llm.batches.queue_tokens = 80
    first = create(client, row("a"))
    second = client.batches.retrieve(create(client, row("a")).id)
    client.batches.cancel(first.id)
    client.batches.retrieve(first.id)
    third = client.batches.retrieve(create(client, row("a")).id)

    assert second.errors
    assert second.errors.data
    assert (second.status, second.errors.data[0].code, third.status) == (
        "failed",
        "token_limit_exceeded",
        "in_progress",
    )


def test_files_are_listed_told_about_and_deleted_once(llm: FakeLLM, client: openai.OpenAI) -> None:
    kept = client.files.create(
        file=("tickets.jsonl", b"{}\n"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )

    file = client.files.retrieve(kept.id)
    assert (file.filename, file.bytes, file.purpose, file.expires_at) == (
        "tickets.jsonl",
        3,
        "batch",
        file.created_at + 3600,
    )
    assert [each.id for each in client.files.list(purpose="batch")] == [kept.id]
    assert client.files.delete(kept.id).deleted
    for gone in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            gone(kept.id)


def test_batches_are_listed_page_by_page_the_newest_first(client: openai.OpenAI) -> None:
    made = [create(client, row("a")).id for _ in range(5)]

    assert [batch.id for batch in client.batches.list(limit=2)] == made[::-1]


def test_limits_of_a_file_hold(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.batches.files.most_bytes = 100

    with pytest.raises(openai.APIStatusError, match="larger"):
        create(client, row("a"))
    with pytest.raises(openai.BadRequestError, match="jsonl"):
        client.files.create(file=("tickets.csv", b"a,b"), purpose="batch")


def test_requests_to_the_api_are_disturbed_as_ordered(llm: FakeLLM, client: openai.OpenAI) -> None:
    llm.batches.disturb("create", Fault(429), Drop(), After.DROP)

    with pytest.raises(openai.RateLimitError):
        create(client, row("a"))
    for _ in range(2):
        with pytest.raises(openai.APIConnectionError):
            create(client, row("a"))

    assert len(llm.batches.batches) == 1
    assert llm.batches.requests == ["upload", "create"] * 3
