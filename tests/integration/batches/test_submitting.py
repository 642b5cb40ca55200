"""Batches on their way to a provider: what a row says, how requests are split, and which batch is found again."""

import time

import pytest

from prelabel.asking.offline import Composed
from prelabel.errors import (
    LLMBatchUnknown,
    LLMBusy,
    LLMRefusesRequest,
)
from prelabel.llm.batch_api import BatchClient
from prelabel.llm.batch_files import Most
from prelabel.llm.exchange import ChatReply
from tests.fakes import llm_moods as moods
from tests.fakes.llm_batches import After
from tests.fakes.llm_policy import Verdict
from tests.fakes.llm_replies import Drop, Fault
from tests.fakes.llm_server import FakeLLM
from tests.integration.batches.calling import Caller, composed, outcome, tickets
from tests.unit.answers import said


def test_tickets_are_answered_through_a_batch_at_half_the_price(llm: FakeLLM, caller: Caller) -> None:
    llm.answer = lambda text, asked: Verdict(("Refund",), 0.95, probability=0.6)
    made = composed(*tickets(7))
    prices = {"LLM_PRICE_INPUT": "2", "LLM_PRICE_OUTPUT": "10"}

    [batch_id] = caller.submit(made)
    batch = caller.poll(batch_id)
    rows = caller.results(batch, **prices)

    reads, usage = outcome(made, rows)
    answers = {place: answer for read in reads for place, answer in read.answers.items()}
    assert (batch.status, batch.name, batch.total, batch.completed) == ("completed", "run-7-0", 3, 3)
    assert answers == dict.fromkeys(range(7), said({"intent": ("refund",)}, 0.95, logprob=0.6))
    assert usage.requests == 3
    assert usage.cost == pytest.approx((usage.prompt_tokens * 2 + usage.completion_tokens * 10) / 2e6)
    assert llm.complaints == []


def test_a_row_is_asked_by_the_very_body_of_a_live_request(llm: FakeLLM, caller: Caller) -> None:
    made = composed("a refund")
    request = made["r0"].request

    caller.run(lambda batches: batches.try_out(request))
    caller.poll(caller.submit(made)[0])

    live, row = llm.history
    assert live.body == row.body
    assert row.body["max_tokens"] == request.max_tokens


def test_what_a_server_refuses_is_found_out_live_and_left_out_of_the_batch(llm: FakeLLM, caller: Caller) -> None:
    llm.mood = moods.REASONING
    made = composed(*tickets(6))
    first = made["r0"].request

    replied = caller.run(lambda batches: batches.try_out(first))
    again = caller.run(lambda batches: batches.try_out(first))
    rows = caller.results(caller.poll(caller.submit(made)[0]))

    assert replied is not None
    assert again is None
    assert [type(answer) for _, answer in rows] == [ChatReply] * 2
    assert "max_completion_tokens" in llm.history[-1].body


def test_what_is_refused_in_rows_is_left_out_of_the_next_batch(llm: FakeLLM, caller: Caller) -> None:
    llm.mood = moods.Mood(refuses=("temperature",))
    made = composed(*tickets(6))

    first = caller.results(caller.poll(caller.submit(made)[0]))
    second = caller.results(caller.poll(caller.submit(made)[0]))

    assert [type(answer) for _, answer in second] == [ChatReply] * 2
    assert all(isinstance(answer, LLMRefusesRequest) for _, answer in first)


def test_requests_are_split_by_count_bytes_and_tokens(llm: FakeLLM, caller: Caller) -> None:
    made = composed(*tickets(9))
    size = llm_size(llm, caller, made)

    by_count = caller.submit(made, Most(requests=2), "count")
    by_bytes = caller.submit(made, Most(bytes=size - 1), "bytes")
    by_tokens = caller.submit(made, Most(tokens=1), "tokens")

    assert (len(by_count), len(by_bytes), len(by_tokens)) == (2, 2, 3)
    for ids in (by_count, by_bytes, by_tokens):
        rows = [row for each in ids for row in caller.results(caller.poll(each))]
        assert sorted(custom_id for custom_id, _ in rows) == ["r0", "r1", "r2"]


def llm_size(llm: FakeLLM, caller: Caller, made: dict[str, Composed]) -> int:
    """Bytes of all requests in one file."""
    [batch_id] = caller.submit(made, name="whole")
    return len(llm.batches.files.find(llm.batches.batches[batch_id].input_file_id).content)


def test_a_request_that_fits_into_no_file_is_refused(caller: Caller) -> None:
    with pytest.raises(LLMRefusesRequest, match="does not fit"):
        caller.submit(composed("a refund"), Most(bytes=100))


def test_an_id_that_two_requests_have_is_a_mistake_of_the_callers(caller: Caller) -> None:
    request = composed("a refund")["r0"].request

    async def submit(batches: BatchClient) -> None:
        async for _ in batches.parts([("a", request), ("a", request)]):
            pass

    with pytest.raises(ValueError, match="two requests have the id a"):
        caller.run(submit)


@pytest.mark.parametrize("disturbance", [After.DROP, Drop(), Fault(500), Fault(503)])
def test_a_batch_is_created_once_though_the_answer_is_lost(
    llm: FakeLLM, caller: Caller, disturbance: Fault | Drop | After
) -> None:
    llm.batches.disturb("create", disturbance)

    [batch_id] = caller.submit(composed("a refund"), LLM_MAX_RETRIES="2")

    assert [*llm.batches.batches] == [batch_id]


def test_the_file_of_a_batch_that_may_have_been_created_is_left_to_it(llm: FakeLLM, caller: Caller) -> None:
    llm.batches.disturb("create", After.DROP)
    llm.batches.disturb("list", Fault(429), Fault(429))

    with pytest.raises(LLMBusy):
        caller.submit(composed("a refund"), LLM_MAX_RETRIES="2")
    batch = caller.run(lambda batches: batches.find("run-7-0"))

    assert batch is not None
    assert [*llm.batches.files.stored] == [batch.input_file, batch.output_file]


def test_a_batch_whose_id_was_never_stored_is_found_again(caller: Caller) -> None:
    began = time.time()
    made = composed(*tickets(9))
    ids = caller.submit(made, Most(requests=1))

    found = [caller.run(lambda batches, n=n: batches.find(f"run-7-{n}", began)) for n in range(4)]  # type: ignore[misc]
    long_after = caller.run(lambda batches: batches.find("run-7-0", began + 7201))

    assert [each and each.id for each in found] == [*ids, None]
    assert long_after is None


def test_polling_tells_the_states_and_keeps_the_counts(llm: FakeLLM, caller: Caller) -> None:
    now = 0.0
    llm.batches.clock = lambda: now
    llm.batches.stages = {"validating": 10.0, "in_progress": 10.0, "finalizing": 10.0, "cancelling": 10.0}
    [batch_id] = caller.submit(composed("a refund"))

    seen = []
    for now in (0.0, 10.0, 20.0, 30.0):  # noqa: B007  read by the server's clock
        batch = caller.poll(batch_id)
        seen.append((str(batch.status), batch.status.has_ended, batch.total, batch.completed))

    assert seen == [
        ("validating", False, 0, 0),
        ("in_progress", False, 1, 0),
        ("finalizing", False, 1, 0),
        ("completed", True, 1, 1),
    ]


def test_a_batch_of_nobodys_is_unknown(caller: Caller) -> None:
    for step in (lambda batches: batches.poll("batch_gone"), lambda batches: batches.cancel("batch_gone")):
        with pytest.raises(LLMBatchUnknown, match="another OPENAI_API_KEY"):
            caller.run(step)
