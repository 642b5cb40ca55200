"""Prompts typed in the labeling interface: used at once, echoed, and told about where something goes wrong."""

from tests.fakes.llm_replies import Fault, Refusal
from tests.fakes.llm_server import FakeLLM
from tests.integration.conftest import DIALOGUES, Backend, Start, labels_of, task


def texts_of(item: dict[str, list[dict[str, dict[str, list[str]]]]]) -> dict[str, list[str]]:
    return {str(region["from_name"]): region["value"]["text"] for region in item["result"] if "text" in region["value"]}


def test_a_typed_prompt_wins_and_comes_back_with_choices_and_comment(backend: Backend, llm: FakeLLM) -> None:
    item = backend.prompted("ALWAYS shipping", task(1, "refund"))

    assert labels_of(item) == {"intent": ["shipping"]}
    assert texts_of(item) == {"prompt": ["ALWAYS shipping"], "response": ["Chosen by its words."]}
    assert llm.complaints == []


def test_a_typed_prompt_is_not_the_projects_before_it_is_submitted(backend: Backend) -> None:
    backend.prompted("ALWAYS shipping", task(1, "refund"))

    (item,) = backend.predict(task(1, "refund"))

    assert labels_of(item) == {"intent": ["refund"]}


def test_without_a_response_field_nothing_is_said(backend: Backend) -> None:
    item = backend.prompted("ALWAYS praise", {"id": 1, "data": {"dialogue": "hello"}}, DIALOGUES, to_name="chat")

    assert labels_of(item) == {"response": ["praise"]}
    assert texts_of(item) == {"prompt": ["ALWAYS praise"]}


def test_a_braced_prompt_stays_as_it_is(backend: Backend, llm: FakeLLM) -> None:
    backend.prompted("Answer like {this}: {0} {text} {", task(1, "refund"))

    assert llm.history[0].instructions.endswith("Answer like {this}: {0} {text} {")


def test_an_empty_set_clears_what_was_selected(backend: Backend, llm: FakeLLM) -> None:
    llm.enqueue('{"answers": [{"id": 1, "labels": [], "confidence": 0.8}]}')

    item = backend.prompted("be strict", {"id": 1, "data": {"dialogue": "hello"}}, DIALOGUES, to_name="chat")

    assert labels_of(item) == {"response": []}


def test_a_wrong_key_is_told_in_the_response_field(start: Start) -> None:
    item = start(OPENAI_API_KEY="wrong").prompted("label it", task(1, "refund"))

    assert labels_of(item) == {}
    assert texts_of(item)["response"] == [
        "No answer: the LLM's server answered 401 (invalid_api_key): check OPENAI_API_KEY and what it may use"
    ]


def test_a_refusal_is_told_in_the_response_field(backend: Backend, llm: FakeLLM) -> None:
    llm.enqueue(Refusal("I would rather not."))

    item = backend.prompted("label it", task(1, "refund"))

    assert texts_of(item)["response"] == ["No label: the LLM refused to answer."]


def test_a_quota_that_is_used_up_is_not_tried_again(backend: Backend, llm: FakeLLM) -> None:
    llm.enqueue(
        Fault(429, body={"error": {"message": "m", "type": "insufficient_quota", "code": "insufficient_quota"}})
    )

    item = backend.prompted("label it", task(1, "refund"))

    assert "quota or balance is used up" in texts_of(item)["response"][0]
    assert len(llm.history) == 1
