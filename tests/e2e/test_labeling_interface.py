"""An annotator in the browser: prompts take effect at once, and corrections are learnt."""

import pytest

from tests.e2e.backend import Backend
from tests.e2e.browser import LabelingInterface
from tests.e2e.studio_api import StudioApi
from tests.fakes.llm_policy import COMMENT
from tests.fakes.llm_server import FakeLLM

CONFIG = """<View>
  <Text name="text" value="$text"/>
  <TextArea name="prompt" toName="text" rows="2" editable="true" maxSubmissions="1" showSubmitButton="false"/>
  <Choices name="intent" toName="text" choice="single" showInline="true">
    <Choice value="Refund"/><Choice value="Shipping"/><Choice value="Other"/>
  </Choices>
  <TextArea name="response" toName="text" rows="2" smart="false" editable="true" maxSubmissions="1"/>
</View>"""
REFUND = "I want a refund for the broken lamp."
SHIPPING = "Your shipping takes for ever."
ANOTHER_REFUND = "Please refund the second lamp, too."


@pytest.fixture
def project(studio: StudioApi, backend: Backend) -> int:
    """A project that the backend is connected to."""
    project = studio.create_project("Tickets", CONFIG)
    backend.connect(project)
    return project


def test_a_prompt_rules_the_open_task_at_once_and_then_the_label_stream(
    studio: StudioApi, project: int, interface: LabelingInterface, llm: FakeLLM
) -> None:
    first, second = studio.import_tasks(project, [{"text": REFUND}, {"text": ANOTHER_REFUND}])

    interface.open_task(project, first)
    interface.expect_chosen("Refund")
    interface.screenshot("1-task-opens-prelabelled")
    interface.switch_on_auto_annotation()
    interface.ask("ALWAYS Shipping")
    interface.expect_chosen("Shipping")
    interface.expect_text(COMMENT)
    interface.screenshot("2-prompt-selects-the-choice")
    interface.submit()

    assert interface.open_stream(project) == second
    interface.expect_chosen("Shipping")
    interface.screenshot("3-next-task-follows-the-prompt")
    assert "ALWAYS Shipping" in llm.asked_about(ANOTHER_REFUND)[0].instructions
    assert (llm.complaints, interface.page_errors) == ([], [])


def test_a_correction_stands_among_the_examples_of_the_next_prompt(
    studio: StudioApi, project: int, interface: LabelingInterface, llm: FakeLLM
) -> None:
    first, second = studio.import_tasks(project, [{"text": REFUND}, {"text": ANOTHER_REFUND}])

    assert interface.open_stream(project) == first
    interface.expect_chosen("Refund")
    interface.choose("Other")
    interface.screenshot("4-reviewer-corrects-the-label")
    assert interface.submit_in_stream() == second

    [asked] = llm.asked_about(ANOTHER_REFUND)
    assert asked.examples == ({"text": REFUND, "label": "3"},)
    assert (llm.complaints, interface.page_errors) == ([], [])


def test_why_a_label_was_chosen_stands_beside_it(
    studio: StudioApi, backend: Backend, interface: LabelingInterface, llm: FakeLLM
) -> None:
    reasoning = '<TextArea name="reasoning" toName="text" smart="false" editable="true" maxSubmissions="1"/>\n</View>'
    project = studio.create_project("With reasons", CONFIG.replace("</View>", reasoning))
    backend.connect(project)
    [task] = studio.import_tasks(project, [{"text": REFUND}])

    interface.open_task(project, task)
    interface.expect_chosen("Refund")
    interface.expect_text(COMMENT)
    interface.screenshot("5-why-a-label")
    interface.submit()

    [prediction] = studio.predictions(project)
    assert {region["from_name"]: region["type"] for region in prediction["result"]} == {
        "intent": "choices",
        "reasoning": "textarea",
    }
    assert (llm.complaints, interface.page_errors) == ([], [])
