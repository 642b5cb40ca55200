"""What leaves for Label Studio is of a shape that its interface can show, by its own SDK's judgement."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_studio_sdk.label_interface.interface import LabelInterface

from prelabel.core.types import Abstained, Failed, Labeled, Outcome, Withheld
from prelabel.errors import InvalidPrediction
from prelabel.studio.label_config import LabelConfig, parse_label_config
from prelabel.studio.predictions import Item, batch_item, checked, interactive_item, message_item

XML = """<View>
  <Text name="text" value="$text"/><HyperText name="page" value="$page"/>
  <TextArea name="prompt" toName="text"/>
  <Choices name="intent" toName="text"><Choice value="Refund request" alias="refund"/><Choice value="Other"/></Choices>
  <Choices name="topics" toName="page" choice="multiple"><Choice value="Card"/><Choice value="App"/></Choices>
  {response}
</View>"""
CONFIG = parse_label_config(XML.format(response=""))
TALKING = parse_label_config(XML.format(response='<TextArea name="response" toName="text" smart="false"/>'))
WHY = '<TextArea name="response" toName="text" smart="false"/><TextArea name="reasoning" toName="page"/>'
REASONING = parse_label_config(XML.format(response=WHY))
BARE = parse_label_config(
    '<View><Text name="t" value="$t"/><Choices name="c" toName="t"><Choice value="a"/></Choices></View>'
)
SDK = LabelInterface(XML.format(response=WHY))

BOTH = Labeled({"intent": ("refund",), "topics": ("Card", "App")}, 0.8)

LABELS = st.fixed_dictionaries(
    {},
    optional={
        "intent": st.sampled_from([("refund",), ("Other",)]),
        "topics": st.sampled_from([(), ("Card",), ("App",), ("Card", "App")]),
    },
)
OUTCOMES = (
    st.builds(Labeled, LABELS, st.floats(0, 1), st.text())
    | st.builds(Abstained, st.text(), st.text())
    | st.builds(Failed, st.text())
    | st.just(Withheld())
)


def plain(item: Item) -> Item:
    """``item`` without the regions' random ids, which are checked to differ."""
    regions = deepcopy(item["result"])
    ids = [region.pop("id") for region in regions]
    assert len(set(ids)) == len(ids)
    return {**item, "result": regions}


def chosen(name: str, to_name: str, *values: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": to_name, "type": "choices", "value": {"choices": [*values]}}


def written(name: str, text: str, to_name: str = "text") -> dict[str, Any]:
    return {"from_name": name, "to_name": to_name, "type": "textarea", "value": {"text": [text]}}


def faults(item: Item) -> list[str]:
    """What Label Studio's own SDK has against ``item``."""
    found: list[str] = SDK.validate_prediction(item, return_errors=True)  # type: ignore[no-untyped-call]
    return found


def said(outcome: Outcome) -> str:
    """What the response field tells of ``outcome``."""
    regions = interactive_item(outcome, TALKING, "p", "v1")["result"]
    [text] = [region["value"]["text"] for region in regions if region["from_name"] == "response"]
    assert isinstance(text, list)
    return str(text[0])


def test_labels_become_regions_of_their_controls() -> None:
    item = batch_item(BOTH, CONFIG, "v1")

    regions = [chosen("intent", "text", "refund"), chosen("topics", "page", "Card", "App")]
    assert plain(item) == {"result": regions, "score": 0.8, "model_version": "v1"}


def test_an_empty_set_is_stored_without_a_region() -> None:
    item = batch_item(Labeled({"topics": ()}, 0.7), CONFIG, "v1")

    assert item == {"result": [], "score": 0.7, "model_version": "v1"}


@pytest.mark.parametrize(
    ("outcome", "item"),
    [
        (Abstained("no label fits"), {"result": [], "score": 0.0, "model_version": "v1"}),
        (Withheld(), {"result": [], "score": None, "model_version": "v1"}),
        (Failed("the LLM is down"), {}),
    ],
)
def test_what_has_no_label_says_whether_it_may_be_asked_again(outcome: Outcome, item: Item) -> None:
    assert batch_item(outcome, CONFIG, "v1") == item


def test_an_interactive_reply_holds_labels_the_prompt_and_what_the_llm_said() -> None:
    item = interactive_item(Labeled(BOTH.labels, 0.8, "Money."), TALKING, "Be strict.", "v1")

    regions = [
        chosen("intent", "text", "refund"),
        chosen("topics", "page", "Card", "App"),
        written("prompt", "Be strict."),
        written("response", "Money."),
    ]
    assert plain(item) == {"result": regions, "score": 0.8, "model_version": "v1"}


def test_an_interactive_reply_without_text_fields_is_the_labels_alone() -> None:
    item = interactive_item(Labeled({"c": ("a",)}, 0.8, "Money."), BARE, "Be strict.", "v1")

    assert plain(item) == {"result": [chosen("c", "t", "a")], "score": 0.8, "model_version": "v1"}


def test_an_empty_set_clears_what_was_selected() -> None:
    item = interactive_item(Labeled({"topics": ()}, 0.7), CONFIG, "p", "v1")

    assert plain(item)["result"] == [chosen("topics", "page"), written("prompt", "p")]


def test_an_interactive_failure_still_has_a_result() -> None:
    item = interactive_item(Failed("the LLM is down"), CONFIG, "p", "v1")

    assert plain(item) == {"result": [written("prompt", "p")], "score": 0.0, "model_version": "v1"}


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Labeled({"intent": ("refund",)}, 0.8, "Money."), "Money."),
        (Labeled({"intent": ("refund",), "topics": ()}, 0.8), "intent: Refund request; topics: none"),
        (BOTH, "intent: Refund request; topics: Card, App"),
        (Abstained("no label fits"), "No label: no label fits."),
        (Abstained("no label fits", "Spam."), "No label: no label fits. Spam."),
        (Failed("the LLM is down"), "No answer: the LLM is down"),
        (Withheld(), "This task is labelled without suggestions."),
    ],
)
def test_the_response_field_tells_what_came_of_it(outcome: Outcome, text: str) -> None:
    assert said(outcome) == text


def test_a_prediction_says_why_where_the_config_has_a_place_for_it() -> None:
    outcome = Labeled({"intent": ("refund",)}, 0.8, "Asks for money.")

    items = [batch_item(outcome, config, "v1") for config in (REASONING, TALKING)]

    assert [plain(item)["result"] for item in items] == [
        [chosen("intent", "text", "refund"), written("reasoning", "Asks for money.", "page")],
        [chosen("intent", "text", "refund")],
    ]


@pytest.mark.parametrize("comment", ["", " \n", "\0"])
def test_a_prediction_without_a_reason_holds_no_empty_one(comment: str) -> None:
    item = batch_item(Labeled({"intent": ("refund",)}, 0.8, comment), REASONING, "v1")

    assert plain(item)["result"] == [chosen("intent", "text", "refund")]


def test_an_empty_set_is_stored_with_its_reason() -> None:
    item = batch_item(Labeled({"topics": ()}, 0.7, "Names nothing."), REASONING, "v1")

    assert plain(item)["result"] == [written("reasoning", "Names nothing.", "page")]


def test_an_abstention_is_stored_without_its_reason() -> None:
    item = batch_item(Abstained("no label fits", "Spam."), REASONING, "v1")

    assert item == {"result": [], "score": 0.0, "model_version": "v1"}


@pytest.mark.parametrize("outcome", [Labeled({"intent": ("refund",)}, 0.8, "Money."), Abstained("none", "Money.")])
def test_an_interactive_reply_says_why_as_well(outcome: Outcome) -> None:
    regions = plain(interactive_item(outcome, REASONING, "p", "v1"))["result"]

    assert written("reasoning", "Money.", "page") in regions


def test_a_reason_is_short_and_of_characters_that_every_database_keeps() -> None:
    [region] = batch_item(Labeled({"topics": ()}, 0.7, "a\0b\ud83d\n" + "x" * 5000), REASONING, "v1")["result"]

    assert region["value"]["text"] == ["a b \n" + "x" * 994 + "…"]


def test_a_message_is_told_where_there_is_a_place_for_it() -> None:
    assert plain(message_item(TALKING, "Try again.")) == {"result": [written("response", "Try again.")]}
    assert message_item(CONFIG, "Try again.") == {"result": []}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"from_name": "tone"}, "'tone' is no control about 'text'"),
        ({"to_name": "page"}, "'intent' is no control about 'page'"),
        ({"value": {"choices": "refund"}}, "'intent' holds no list of texts"),
        ({"value": {"choices": [1]}}, "'intent' holds no list of texts"),
        ({"value": {}}, "'intent' holds no list of texts"),
        ({"value": {"choices": ["Refund request"]}}, "'intent' holds what are not distinct labels of the config"),
        ({"value": {"choices": ["refund", "refund"]}}, "'intent' holds what are not distinct labels of the config"),
        ({"value": {"choices": ["refund", "Other"]}}, "'intent' takes one label"),
        ({"type": "textarea", "value": {"text": "refund"}}, "'intent' holds no list of texts"),
        ({"type": "textarea", "value": {"text": ["refund"]}}, "'intent' is no text field about 'text'"),
    ],
)
def test_a_region_that_cannot_be_shown_never_leaves(changed: dict[str, Any], reason: str) -> None:
    item = batch_item(Labeled({"intent": ("refund",)}, 0.8), CONFIG, "v1")
    item["result"][0] |= changed

    with pytest.raises(InvalidPrediction) as caught:
        checked(item, CONFIG)

    assert str(caught.value) == reason


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan"), float("inf"), 1, None, "0.9", True])
def test_a_score_that_is_no_number_from_0_to_1_never_leaves(score: Any) -> None:
    with pytest.raises(InvalidPrediction, match="is not from 0 to 1"):
        batch_item(Labeled({"intent": ("refund",)}, score), CONFIG, "v1")


def test_a_control_is_never_answered_twice() -> None:
    item = batch_item(Labeled({"intent": ("refund",)}, 0.8), CONFIG, "v1")
    item["result"] *= 2

    with pytest.raises(InvalidPrediction, match="a control is answered twice"):
        checked(item, CONFIG)


@pytest.mark.parametrize("config", [CONFIG, TALKING, REASONING])
@settings(deadline=None)
@given(outcome=OUTCOMES, prompt=st.text())
def test_label_studios_sdk_finds_every_prediction_valid(config: LabelConfig, outcome: Outcome, prompt: str) -> None:
    items = batch_item(outcome, config, "v1"), interactive_item(outcome, config, prompt, "v1")

    assert [fault for item in items if item for fault in faults(item)] == []


def test_the_sdk_would_tell() -> None:
    """The oracle above is one: what our own check refuses, it refuses as well."""
    item = batch_item(Labeled({"intent": ("refund",)}, 0.8), CONFIG, "v1")
    item["result"][0]["value"] = {"choices": ["Refund request"]}

    assert len(faults(item)) == 1
