"""The Batch API as somebody calls it who has tickets."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from prelabel.asking.offline import Composed, Read, compose, read
from prelabel.asking.requests import Assignment, Told
from prelabel.config import Settings
from prelabel.core.types import Choices, Label, Ticket, Usage
from prelabel.errors import (
    LLMError,
)
from prelabel.llm.batch_api import BatchClient
from prelabel.llm.batch_files import Most
from prelabel.llm.batches import Batch
from prelabel.llm.exchange import ChatReply
from prelabel.llm.loop import LLM
from tests.fakes.llm_server import FakeLLM

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
