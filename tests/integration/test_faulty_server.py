"""A server of which every fifth reply is spoilt, in one way or another: every ticket ends as it should."""

import pytest

from tests.fakes.llm_faults import PASSING, REPLIES, FaultMix
from tests.fakes.llm_server import FakeLLM
from tests.integration.conftest import Start, labels_of, task

LABELS = ("refund", "shipping", "other")
TICKETS = 600
PER_REQUEST = 4


@pytest.mark.parametrize("kinds", [tuple(REPLIES), tuple(PASSING)], ids=["replies", "all kinds"])
def test_with_a_fifth_of_the_replies_spoilt_no_ticket_is_labelled_otherwise(
    start: Start, llm: FakeLLM, kinds: tuple[str, ...]
) -> None:
    llm.faults = mix = FaultMix(0.2, kinds, seed=5)
    backend = start(
        LLM_TIMEOUT="1", LLM_MAX_RETRIES="10", PREDICT_DEADLINE="60", LLM_TASKS_PER_REQUEST=str(PER_REQUEST)
    )

    items = backend.predict(*(task(n, f"my {LABELS[n % 3]}, case {n}") for n in range(TICKETS)))

    right = [{"intent": [LABELS[n % 3]]} for n in range(TICKETS)]
    given = [labels_of(item) if item.get("result") else None for item in items]
    assert all(each in (None, expected) for each, expected in zip(given, right, strict=True))
    assert sum(each is not None for each in given) >= 0.98 * TICKETS
    assert len(llm.history) + llm.refused <= 1.6 * TICKETS / PER_REQUEST
    assert mix.drawn.total() > 20
    assert llm.complaints == []
