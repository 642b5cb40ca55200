"""Redis goes away: what is known serves on, what cannot be kept is refused, nothing hangs."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from prelabel.store.keys import ProjectRef
from tests.fakes.llm_policy import Verdict, by_words
from tests.fakes.llm_request import Asked
from tests.fakes.llm_server import FakeLLM
from tests.integration.conftest import PROJECT, TICKETS, Backend, Start, annotation, json_of, labels_of, task
from tests.integration.project_seven import REF
from tests.servers import redis_server


@dataclass
class Outage:
    """A backend whose Redis can be taken away."""

    backend: Backend
    begin: ExitStack


@pytest.fixture
def outage(start: Start, llm: FakeLLM) -> Iterator[Outage]:
    with ExitStack() as stack:
        server = stack.enter_context(redis_server())
        yield Outage(start(REDIS_URL=server.url), stack)


def test_predictions_go_on_with_the_last_known_prompt_and_version(outage: Outage) -> None:
    backend = outage.backend
    prompts = backend.work.prompts
    prompts.promote(REF, prompts.add(REF, "ALWAYS shipping").version)
    version = backend.setup()
    outage.begin.close()

    (item,) = backend.predict(task(1, "refund"))

    assert (labels_of(item), item["model_version"]) == ({"intent": ["shipping"]}, version)
    assert backend.setup() == version


def test_an_unknown_project_gets_no_prediction_and_no_version(outage: Outage, llm: FakeLLM) -> None:
    outage.begin.close()

    reply = outage.backend.http.post("/setup", json={"project": "7.1795235920", "schema": TICKETS})

    assert outage.backend.predict(task(1, "refund"), task(2, "refund")) == [{}, {}]
    assert (reply.status_code, json_of(reply)["error"]["type"]) == (503, "store_unavailable")
    assert llm.history == []


def test_a_typed_prompt_is_answered_all_the_same(outage: Outage) -> None:
    outage.begin.close()

    assert labels_of(outage.backend.prompted("ALWAYS other", task(1, "refund"))) == {"intent": ["other"]}


def test_a_task_that_was_known_to_be_withheld_stays_so(outage: Outage, llm: FakeLLM) -> None:
    backend = outage.backend
    backend.work.projects.withhold(ProjectRef.parse(PROJECT), [1])
    version = backend.setup()
    outage.begin.close()

    items = backend.predict(task(1, "refund"), task(2, "refund"))
    typed = backend.prompted("ALWAYS shipping", task(1, "refund"))

    assert items[0] == {"result": [], "score": None, "model_version": version}
    assert labels_of(items[1]) == {"intent": ["refund"]}
    assert labels_of(typed) == {}
    assert [asked.texts for asked in llm.history] == [("refund",)]


def test_a_task_that_was_withheld_while_it_was_asked_about_is_known_to_be(outage: Outage, llm: FakeLLM) -> None:
    backend = outage.backend
    ref = ProjectRef.parse(PROJECT)

    def withhold(text: str, asked: Asked) -> Verdict:
        backend.work.projects.withhold(ref, [1])
        return by_words(text, asked)

    llm.answer = withhold
    [first] = backend.predict(task(1, "refund"))
    outage.begin.close()
    [again] = backend.predict(task(1, "refund"))

    assert (first, again["score"]) == (again, None)
    assert len(llm.history) == 1


def test_an_event_that_cannot_be_kept_is_answered_503(outage: Outage) -> None:
    outage.backend.setup()
    outage.begin.close()

    assert outage.backend.event("ANNOTATION_CREATED", annotation=annotation(1, "other"), task=task(1, "x")) == 503
    assert outage.backend.event("START_TRAINING") == 503


def test_health_does_not_ask_and_ready_does(outage: Outage) -> None:
    before = outage.backend.http.get("/health").status_code
    outage.begin.close()

    after = [outage.backend.http.get(path).status_code for path in ("/", "/health", "/ready")]

    assert (before, after) == (200, [200, 200, 503])
