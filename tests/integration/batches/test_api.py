"""Batches at a provider, over HTTP: from tickets to requests, to a batch, to answers and a rest."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import closing
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prelabel.asking.offline import Composed, Read, compose, read
from prelabel.asking.requests import Assignment, Told
from prelabel.config import Settings
from prelabel.core.types import Choices, Label, Labeled, Ticket, Usage
from prelabel.errors import (
    LLMBatchUnknown,
    LLMBusy,
    LLMError,
    LLMHasNoBatches,
    LLMQueueFull,
    LLMRefusesContent,
    LLMRefusesRequest,
    LLMUnavailable,
)
from prelabel.llm.batch_api import BatchClient
from prelabel.llm.batch_files import Most
from prelabel.llm.batches import Batch
from prelabel.llm.exchange import ChatReply
from prelabel.llm.loop import LLM
from tests.fakes import llm_moods as moods
from tests.fakes.llm_batches import After, Lot
from tests.fakes.llm_faults import CUT_OFF, DOUBLED_IDS, EMPTY, FOREIGN, IGNORED, MISSING_IDS, REFUSAL
from tests.fakes.llm_replies import Drop, Fault, Reply, error_body
from tests.fakes.llm_server import Answer, FakeLLM

T = TypeVar("T")
INTENT = Choices("intent", "text", (Label("refund", "Refund"), Label("other", "Other")))
ASSIGNMENT = Assignment((INTENT,), prompt="Be fair.", tasks_per_request=3)
PATIENCE_S = 30.0


class Caller:
    """What a run does with the Batch API, one step a call, as from different processes."""

    def __init__(self, llm: FakeLLM, asking: LLM) -> None:
        self._llm = llm
        self._asking = asking

    def run(self, work: Callable[[BatchClient], Coroutine[Any, Any, T]], **env: str) -> T:
        env = {"OPENAI_API_KEY": self._llm.api_key, "OPENAI_BASE_URL": self._llm.url, "LLM_MAX_RETRIES": "0", **env}
        return self._asking.run_batches(Settings.from_env(env), work, PATIENCE_S)

    def submit(self, made: dict[str, Composed], most: Most | None = None, name: str = "run-7", **env: str) -> list[str]:
        """The ids of the batches that were made of these requests."""

        async def submit(batches: BatchClient) -> list[str]:
            ids: list[str] = []
            async for part in batches.parts(((key, each.request) for key, each in made.items()), most):
                ids.append(await batches.submit(f"{name}-{len(ids)}", part))
            return ids

        return self.run(submit, **env)

    def poll(self, batch_id: str, **env: str) -> Batch:
        return self.run(lambda batches: batches.poll(batch_id), **env)

    def results(self, batch: Batch, **env: str) -> list[tuple[str, ChatReply | LLMError]]:
        async def results(batches: BatchClient) -> list[tuple[str, ChatReply | LLMError]]:
            return [row async for row in batches.results(batch)]

        return self.run(results, **env)

    def cleanup(self, batch: Batch, **env: str) -> None:
        self.run(lambda batches: batches.cleanup(batch), **env)


@pytest.fixture
def caller(llm: FakeLLM) -> Iterator[Caller]:
    asking = LLM(8)
    yield Caller(llm, asking)
    asking.close()


def composed(*texts: str, assignment: Assignment = ASSIGNMENT) -> dict[str, Composed]:
    """Requests about tickets, by their ids in a batch."""
    told = [Told(Ticket(number, text)) for number, text in enumerate(texts)]
    return {f"r{number}": each for number, each in enumerate(compose(assignment, told))}


def tickets(count: int) -> list[str]:
    return [f"a refund for order {number}" for number in range(count)]


def outcome(made: dict[str, Composed], rows: list[tuple[str, ChatReply | LLMError]]) -> tuple[list[Read], Usage]:
    """What came of each request, those that never came last."""
    came, usage = dict(rows), Usage()
    ids = sorted(made, key=lambda custom_id: custom_id not in came)
    return [read(came.get(key), made[key].places, ASSIGNMENT.questions, usage) for key in ids], usage


def test_tickets_are_answered_through_a_batch_at_half_the_price(llm: FakeLLM, caller: Caller) -> None:
    made = composed(*tickets(7))
    prices = {"LLM_PRICE_INPUT": "2", "LLM_PRICE_OUTPUT": "10"}

    [batch_id] = caller.submit(made)
    batch = caller.poll(batch_id)
    rows = caller.results(batch, **prices)

    reads, usage = outcome(made, rows)
    answers = {place: answer for read in reads for place, answer in read.answers.items()}
    assert (batch.status, batch.name, batch.total, batch.completed) == ("completed", "run-7-0", 3, 3)
    labels = {place: answer.labels["intent"] for place, answer in answers.items() if isinstance(answer, Labeled)}
    assert labels == dict.fromkeys(range(7), ("refund",))
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


def test_files_go_by_themselves_if_nobody_comes_back_for_them(llm: FakeLLM, caller: Caller) -> None:
    caller.submit(composed("a refund"))

    [file] = llm.batches.files.stored.values()
    assert file.expires_in_s == 30 * 24 * 3600


@pytest.mark.parametrize(
    ("version", "expires"), [("2024-10-21", False), ("2025-03-01-preview", True), ("2025-04-01-preview", True)]
)
def test_at_azure_they_do_where_its_version_has_that(version: str, expires: bool) -> None:
    with AzureLLM() as llm, closing(LLM(8)) as asking:
        llm.models, llm.batches.endpoint = ("tickets-batch",), "/chat/completions"
        Caller(llm, asking).submit(composed("a refund"), None, "azure", **azure(llm), AZURE_API_VERSION=version)

        [file], [batch] = llm.batches.files.stored.values(), llm.batches.batches.values()
        assert file.asks_to_expire is expires
        assert batch.output_expires_after == ({"anchor": "created_at", "seconds": 30 * 24 * 3600} if expires else None)


def test_a_server_without_a_batch_api_says_so(llm: FakeLLM, caller: Caller) -> None:
    llm.batches.is_there = False

    with pytest.raises(LLMHasNoBatches, match="has no Batch API, ask it live"):
        caller.submit(composed("a refund"))


@pytest.mark.parametrize(
    ("provider", "words"),
    [("openrouter", "OpenRouter has no"), ("ollama", "Ollama has no"), ("anthropic", "another protocol")],
)
def test_a_provider_without_a_batch_api_is_not_even_asked(
    llm: FakeLLM, caller: Caller, provider: str, words: str
) -> None:
    with pytest.raises(LLMHasNoBatches, match=words):
        caller.poll("batch_1", OPENAI_PROVIDER=provider)
    assert llm.batches.requests == []


def test_a_line_separator_in_a_reply_ends_no_line(llm: FakeLLM, caller: Caller) -> None:
    said = '{"answers": [{"id": 1, "label": "1", "confidence": 0.9}]}\u2028\x85'
    llm.batches.fates = {"r0": said}

    [(_, reply)] = caller.results(caller.poll(caller.submit(composed("a refund"))[0]))

    assert isinstance(reply, ChatReply)
    assert reply.text == said


class AzureLLM(FakeLLM):
    """The fake at Azure's addresses, for a deployment that answers batches alone."""

    def respond(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Any:
        if not path.startswith("/openai/") or "api-version=" not in path:
            return super().respond(method, path, headers, body)
        if "/chat/completions" in path:
            words = "The chatCompletion operation does not work with the specified model."
            return Answer(400, error_body(words, code="OperationNotSupported"))
        key = {**headers, "authorization": f"Bearer {headers['api-key']}"}
        return super().respond(method, path.replace("/openai/", "/v1/", 1), key, body)


def azure(llm: FakeLLM) -> dict[str, str]:
    return {
        "OPENAI_PROVIDER": "azure",
        "OPENAI_BASE_URL": "",
        "AZURE_RESOURCE_ENDPOINT": llm.url.removesuffix("/v1"),
        "AZURE_DEPLOYMENT_NAME": "tickets-batch",
    }


def test_azure_is_asked_by_its_deployment_under_its_own_addresses() -> None:
    with AzureLLM() as llm:
        llm.models, llm.batches.endpoint = ("tickets-batch",), "/chat/completions"
        asking = LLM(8)
        caller, made = Caller(llm, asking), composed(*tickets(6))
        env = azure(llm)
        tried = caller.run(lambda batches: batches.try_out(made["r0"].request), **env)
        batch = caller.poll(caller.submit(made, None, "azure", **env)[0], **env)
        rows = caller.results(batch, **env)
        caller.cleanup(batch, **env)
        asking.close()

        assert (tried, batch.status, batch.problem) == (None, "completed", None)
        assert [type(answer) for _, answer in rows] == [ChatReply, ChatReply]
        assert llm.batches.files.stored == {}


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
