"""What becomes of batches at a provider, and what is read of them."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prelabel.errors import (
    LLMBusy,
    LLMError,
    LLMQueueFull,
    LLMRefusesContent,
    LLMRefusesRequest,
    LLMUnavailable,
)
from prelabel.llm.batch_api import BatchClient
from prelabel.llm.exchange import ChatReply
from tests.fakes.llm_batches import After, Lot
from tests.fakes.llm_faults import CUT_OFF, DOUBLED_IDS, EMPTY, FOREIGN, IGNORED, MISSING_IDS, REFUSAL
from tests.fakes.llm_replies import Drop, Fault, Reply
from tests.fakes.llm_server import FakeLLM
from tests.integration.batches.calling import Caller, composed, outcome, tickets


def test_a_full_queue_is_told_apart_however_the_server_tells_it(llm: FakeLLM, caller: Caller) -> None:
    llm.batches.queue_tokens = 1
    failed = caller.poll(caller.submit(composed("a refund"))[0])
    words = {"error": {"message": "Enqueued token limit reached for gpt-4o-mini", "type": "requests", "code": None}}
    llm.batches.disturb("create", Fault(429, body=words))

    with pytest.raises(LLMQueueFull):
        caller.submit(composed("a refund"), LLM_MAX_RETRIES="5")
    assert (failed.status, type(failed.problem)) == ("failed", LLMQueueFull)
    assert [*llm.batches.files.stored] == [failed.input_file]


def test_a_429_that_passes_is_waited_out(llm: FakeLLM, caller: Caller) -> None:
    llm.batches.disturb("upload", Fault(429, {"retry-after-ms": "50"}))
    llm.batches.disturb("create", Fault(429, {"retry-after-ms": "50"}))

    assert caller.submit(composed("a refund"), LLM_MAX_RETRIES="1")
    llm.batches.disturb("create", Fault(429, {"retry-after": "3600"}))
    with pytest.raises(LLMBusy):
        caller.submit(composed("a refund"), LLM_MAX_RETRIES="5")


def test_a_batch_with_an_unknown_model_fails_for_good(caller: Caller) -> None:
    [batch_id] = caller.submit(composed("a refund"), OPENAI_MODEL="gpt-nonsense")

    batch = caller.poll(batch_id)

    assert (batch.status, type(batch.problem), str(batch.problem)) == (
        "failed",
        LLMRefusesRequest,
        "the batch failed (model_not_found in line 1)",
    )
    assert caller.results(batch) == []


def test_a_half_expired_batch_gives_what_was_done(llm: FakeLLM, caller: Caller) -> None:
    llm.batches.expires, llm.batches.share_done = True, 0.5
    made = composed(*tickets(6))

    batch = caller.poll(caller.submit(made)[0])
    reads, _ = outcome(made, caller.results(batch))

    assert (batch.status, sorted(place for read in reads for place in read.answers)) == ("expired", [0, 1, 2])
    assert [(each.rest, each.problem) for each in reads if each.rest] == [
        ([3, 4, 5], "the request was not answered in its batch (batch_expired)")
    ]


def test_a_cancelled_batch_gives_what_was_done_and_cancelling_again_is_nothing(llm: FakeLLM, caller: Caller) -> None:
    llm.batches.stages["in_progress"] = 1000
    llm.batches.share_done = 0.5
    made = composed(*tickets(6))
    [batch_id] = caller.submit(made)

    asked = caller.run(lambda batches: batches.cancel(batch_id))
    batch = caller.run(lambda batches: batches.cancel(batch_id))
    reads, _ = outcome(made, caller.results(batch))

    assert (asked.status, batch.status) == ("cancelling", "cancelled")
    assert sorted(place for read in reads for place in read.rest) == [3, 4, 5]


@pytest.mark.parametrize(
    ("fate", "error"),
    [
        (Fault(400, body={"error": {"message": "This model's maximum context length is 8192"}}), LLMRefusesContent),
        (Fault(429), LLMBusy),
        (Fault(500), LLMUnavailable),
        (Fault(401), LLMRefusesRequest),
        (Fault(413), LLMRefusesContent),
        (Lot.TIMED_OUT, LLMUnavailable),
        (Lot.BODILESS, LLMUnavailable),
        (Drop(), LLMUnavailable),
    ],
)
def test_a_failed_row_is_the_error_that_it_would_be_live(
    llm: FakeLLM, caller: Caller, fate: Lot | Reply, error: type[LLMError]
) -> None:
    llm.batches.fates = {"r1": fate}
    made = composed(*tickets(6))

    rows = dict(caller.results(caller.poll(caller.submit(made)[0])))

    assert isinstance(rows["r0"], ChatReply)
    assert isinstance(rows["r1"], error)


@pytest.mark.parametrize("disturbance", [Drop(), Fault(500), Fault(429)])
def test_results_are_fetched_again_where_a_download_fails(
    llm: FakeLLM, caller: Caller, disturbance: Fault | Drop
) -> None:
    batch = caller.poll(caller.submit(composed(*tickets(6)))[0])
    llm.batches.disturb("content", disturbance)

    rows = caller.results(batch, LLM_MAX_RETRIES="1")

    assert sorted(custom_id for custom_id, _ in rows) == ["r0", "r1"]


def test_nothing_stays_at_the_provider_after_cleaning_up_however_often(llm: FakeLLM, caller: Caller) -> None:
    llm.batches.fates = {"r1": Fault(400)}
    batch = caller.poll(caller.submit(composed(*tickets(6)))[0])
    stored = len(llm.batches.files.stored)
    llm.batches.disturb("delete", Fault(500), After.DROP)

    caller.cleanup(batch, LLM_MAX_RETRIES="2")
    caller.cleanup(batch)

    assert (stored, llm.batches.files.stored) == (3, {})
    assert caller.results(batch) == []


def test_an_upload_of_which_no_batch_was_made_is_found_by_its_name_and_deleted(llm: FakeLLM, caller: Caller) -> None:
    llm.batches.disturb("create", Fault(500))
    with pytest.raises(LLMUnavailable):
        caller.submit(composed("a refund"), name="dead")
    caller.submit(composed("a refund"), name="alive")

    caller.run(lambda batches: batches.cleanup_input("dead-0"))

    assert [file.name for file in llm.batches.files.stored.values()] == ["prelabel-alive-0.jsonl"]


def test_a_line_separator_in_a_reply_ends_no_line(llm: FakeLLM, caller: Caller) -> None:
    said = '{"answers": [{"id": 1, "label": "1", "confidence": 0.9}]}\u2028\x85'
    llm.batches.fates = {"r0": said}

    [(_, reply)] = caller.results(caller.poll(caller.submit(composed("a refund"))[0]))

    assert isinstance(reply, ChatReply)
    assert reply.text == said


def test_the_loop_is_free_while_a_batch_is_read(caller: Caller) -> None:
    batch = caller.poll(caller.submit(composed(*tickets(60)))[0])

    async def both(batches: BatchClient) -> tuple[int, int]:
        async def read() -> int:
            return len([row async for row in batches.results(batch)])

        rows, again = await asyncio.gather(read(), read())
        return rows, again

    assert caller.run(both) == (20, 20)


FATES: list[Lot | Reply | None] = [
    *(None, None, *Lot),
    *(Fault(400), Fault(429), Fault(500), Fault(401), Drop()),
    *(CUT_OFF, DOUBLED_IDS, EMPTY, FOREIGN, IGNORED, MISSING_IDS, REFUSAL),
]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fates=st.lists(st.sampled_from(FATES), min_size=6, max_size=6),
    ends=st.sampled_from(["completed", "expired", "cancelled"]),
    share_done=st.floats(0, 1),
)
def test_every_ticket_is_answered_or_in_the_rest_and_none_twice(
    llm: FakeLLM, caller: Caller, fates: list[Lot | Reply | None], ends: str, share_done: float
) -> None:
    llm.reset()
    made = composed(*tickets(16), "a refund for order 3")
    llm.batches.fates = {f"r{number}": fate for number, fate in enumerate(fates) if fate is not None}
    llm.batches.expires, llm.batches.share_done = ends == "expired", share_done
    if ends == "cancelled":
        llm.batches.stages["in_progress"] = 1000

    [batch_id] = caller.submit(made)
    if ends == "cancelled":
        caller.run(lambda batches: batches.cancel(batch_id))
    batch = caller.poll(batch_id)
    reads, _ = outcome(made, caller.results(batch))

    answered = [place for read in reads for place in read.answers]
    rest = [place for read in reads for place in read.rest]
    assert batch.status == ends
    assert sorted([*answered, *rest]) == list(range(17))
    assert all(bool(read.rest) == bool(read.problem) for read in reads)
