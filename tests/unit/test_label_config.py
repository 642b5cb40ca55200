"""Label configs: what is asked, about what, and why what cannot be answered is not."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.types import Choices, Label
from prelabel.errors import LabelConfigError
from prelabel.studio.label_config import LabelConfig, Source, TextField, parse_label_config

INTENT_EXAMPLE = Path(__file__).parents[1] / "data" / "intent_config.xml"

TEXT = '<Text name="text" value="$text"/>'
CHOICE = '<Choice value="a"/>'
CHOICES = '<Choices name="intent" toName="text"><Choice value="Refund"/><Choice value="Other"/></Choices>'


def view(*tags: str) -> str:
    return f"<View>{''.join(tags)}</View>"


def choices(attributes: str, *labels: str) -> str:
    return f'<Choices name="intent" toName="text" {attributes}>{"".join(labels)}</Choices>'


def label(name: str) -> Label:
    return Label(name, name)


def test_label_studios_intent_example_is_understood() -> None:
    config = parse_label_config(INTENT_EXAMPLE.read_text())

    labels = label("Cancel order"), label("Ask for a refund"), label("Something else")
    assert config == LabelConfig(
        questions=(Choices("response", "chat", labels, multiple=True),),
        sources={"chat": Source("chat", "paragraphs", "$dialogue", "author", "text")},
        prompt_field=TextField("prompt", "chat"),
        response_field=None,
    )


@pytest.mark.parametrize(
    ("tag", "source"),
    [
        ('<Text name="a" value="$text"/>', Source("a", "text", "$text")),
        ('<HyperText name="a" value="$html"/>', Source("a", "hypertext", "$html")),
        ('<hypertext name="a" value="$html"/>', Source("a", "hypertext", "$html")),
        ('<Text name="a" value="$url" valueType="url"/>', Source("a", "text", "$url", is_link=True)),
        ('<Text name="a" value="$text" valueType="text"/>', Source("a", "text", "$text")),
        (
            '<Paragraphs name="a" value="$chat" nameKey="role" textKey="content"/>',
            Source("a", "paragraphs", "$chat", "role", "content"),
        ),
        ('<Paragraphs name="a" value="$chat" nameKey="" textKey=""/>', Source("a", "paragraphs", "$chat")),
    ],
)
def test_texts_are_found_by_type_and_name(tag: str, source: Source) -> None:
    config = parse_label_config(view(tag, CHOICES.replace('toName="text"', 'toName="a"')))

    assert config.sources == {"a": source}


def test_only_texts_that_a_question_is_about_are_read_in_the_configs_order() -> None:
    second = CHOICES.replace("intent", "tone").replace('toName="text"', 'toName="reply"')
    others = (
        '<Text name="reply" value="$reply"/>',
        '<Image name="photo" value="$photo"/>',
        '<Text name="note" value="$n"/>',
    )

    config = parse_label_config(view(second, TEXT, *others, CHOICES))

    assert list(config.sources) == ["text", "reply"]
    assert [(question.name, question.to_name) for question in config.questions] == [
        ("tone", "reply"),
        ("intent", "text"),
    ]


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ('<Choice value="Refund"/>', label("Refund")),
        ('<Choice value="Refund" hint=" They want money. "/>', Label("Refund", "Refund", "They want money.")),
        ('<Choice value="Refund request" alias="refund"/>', Label("refund", "Refund request")),
        ('<Choice value="Refund" alias=""/>', label("Refund")),
        ('<Choice value=" Refund "/>', Label(" Refund ", "Refund")),
        (
            '<Choice value="Refund" predicted_values="money back, 返金 ,,x"/>',
            Label("Refund", "Refund", "", ("money back", "返金", "x")),
        ),
        ('<Choice value="&lt;&quot;é&#10;{0}"/>', Label('<"é\n{0}', '<"é\n{0}')),
    ],
)
def test_a_label_is_stored_by_alias_shown_by_value_and_known_by_predicted_values(tag: str, expected: Label) -> None:
    config = parse_label_config(view(TEXT, choices("", tag)))

    assert config.questions[0].labels == (expected,)


def test_labels_keep_the_configs_order_and_each_its_first_place() -> None:
    tags = ['<Choice value="b"/>', '<Choice value="a" hint="first"/>', '<Choice value="b"/>', '<Choice value="c"/>']

    config = parse_label_config(view(TEXT, choices("", *tags, '<Choice value="x" alias="a"/>', '<Choice value=" "/>')))

    assert config.questions[0].labels == (label("b"), Label("a", "a", "first"), label("c"))


@pytest.mark.parametrize(
    ("attributes", "multiple", "required"),
    [
        ("", False, False),
        ('choice="single"', False, False),
        ('choice="single-radio"', False, False),
        ('choice="multiple"', True, False),
        ('choice="Multiple" required="true"', True, True),
        ('required="false"', False, False),
        ('perRegion="false" allowNested="false"', False, False),
    ],
)
def test_attributes_say_how_many_labels_there_may_be(attributes: str, multiple: bool, required: bool) -> None:
    config = parse_label_config(view(TEXT, choices(attributes, CHOICE)))

    assert config.questions == (Choices("intent", "text", (label("a"),), multiple, required),)


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        ("", "the label config is missing"),
        (" \n ", "the label config is missing"),
        ("<View>", "not well-formed XML: no element found: line 1, column 6"),
        ("<View></Veiw>", "not well-formed XML: mismatched tag"),
        ("nonsense", "not well-formed XML: syntax error"),
        ('<View a="1" a="2"/>', "not well-formed XML: duplicate attribute"),
        (view("&nbsp;"), "not well-formed XML: undefined entity"),
        (view("\x00"), "not well-formed XML: not well-formed (invalid token)"),
        (view("\ud83d"), "not well-formed XML: 'utf-8' codec can't encode"),
        (f"<!DOCTYPE View>{view(TEXT, CHOICES)}", "declares a document type"),
        (f'<!DOCTYPE x [<!ENTITY a "{"b" * 9}">]>{view("&a;")}', "declares a document type"),
        (view(), "it has none"),
        (view(TEXT), "it has none"),
        (view('<Image name="text" value="$photo"/>', CHOICES), "Choices 'intent': it is about a Image"),
        (view(CHOICES), "Choices 'intent': its toName='text' is no object of the config"),
        (view(TEXT, '<Choices name="c"><Choice value="a"/></Choices>'), "its toName=None is no object"),
        (view(TEXT, '<Choices toName="text"><Choice value="a"/></Choices>'), "Choices ''"),
        (view(TEXT, choices('perRegion="true"', CHOICE)), "Choices 'intent': perRegion is not supported"),
        (view(TEXT, choices('perItem="1"', CHOICE)), "Choices 'intent': perItem is not supported"),
        (view(TEXT, choices('allowNested="True"', CHOICE)), "Choices 'intent': allowNested is not supported"),
        (view(TEXT, choices("")), "Choices 'intent': it has no fixed labels"),
        (view(TEXT, choices('value="$options"')), "Choices 'intent': it has no fixed labels"),
        (view(TEXT, choices("", "<Choice/>", '<Choice value=" "/>')), "Choices 'intent': it has no fixed labels"),
    ],
)
def test_a_config_that_cannot_be_answered_says_why(xml: str, reason: str) -> None:
    with pytest.raises(LabelConfigError) as caught:
        parse_label_config(xml)

    assert reason in str(caught.value)
    assert (caught.value.kind, caught.value.status) == ("label_config", 400)


def test_all_reasons_are_told_at_once() -> None:
    photo = '<Image name="photo" value="$photo"/>'
    about_photo = f'<Choices name="kind" toName="photo">{CHOICE}</Choices>'

    with pytest.raises(
        LabelConfigError, match="Choices 'kind': it is about a Image; Choices 'intent': perRegion is not"
    ):
        parse_label_config(view(TEXT, photo, about_photo, choices('perRegion="true"', CHOICE)))


def test_what_cannot_be_answered_is_left_out() -> None:
    config = parse_label_config(view(TEXT, CHOICES, choices('perRegion="true"', CHOICE)))

    assert [question.labels for question in config.questions] == [(label("Refund"), label("Other"))]


@pytest.mark.parametrize(
    ("names", "prefix", "expected"),
    [
        ([], "prompt", (None, None)),
        (["prompt", "response"], "prompt", ("prompt", "response")),
        (["response-1", "prompt-1"], "prompt", ("prompt-1", "response-1")),
        (["my-prompt", "my-response"], "prompt", (None, None)),
        (["my-prompt", "prompt"], "my-prompt", ("my-prompt", None)),
        (["prompt1", "prompt2"], "prompt", ("prompt1", None)),
        (["response"], "response", ("response", None)),
        (["response1", "response2"], "response", ("response1", "response2")),
    ],
)
def test_prompt_and_response_fields_are_found_by_prefix(
    names: list[str], prefix: str, expected: tuple[str | None, str | None]
) -> None:
    areas = [f'<TextArea name="{name}" toName="text"/>' for name in names]

    config = parse_label_config(view(TEXT, CHOICES, *areas), prefix)

    found = config.prompt_field, config.response_field
    assert tuple(area and area.name for area in found) == expected


@pytest.mark.parametrize(
    ("areas", "expected"),
    [
        ('<TextArea name="reasoning" toName="text"/>', TextField("reasoning", "text")),
        ('<TextArea name="reasoning_1" toName="text" smart="false"/>', TextField("reasoning_1", "text")),
        ('<TextArea name="my_reasoning" toName="text"/>', None),
        ('<TextArea name="reasoning" toName="text" perRegion="true"/>', None),
        ('<Rating name="reasoning" toName="text"/>', None),
    ],
)
def test_the_reasoning_field_is_found_by_prefix(areas: str, expected: TextField | None) -> None:
    others = '<TextArea name="prompt" toName="text"/><TextArea name="response" toName="text"/>'

    config = parse_label_config(view(TEXT, CHOICES, others, areas))

    assert config.reasoning_field == expected
    assert (config.prompt_field, config.response_field) == (TextField("prompt", "text"), TextField("response", "text"))


def test_a_prompt_field_about_what_is_asked_comes_before_another() -> None:
    note, first = '<Text name="note" value="$note"/>', '<TextArea name="prompt-note" toName="note"/>'
    own = '<TextArea name="prompt-text" toName="text"/>'

    assert parse_label_config(view(TEXT, note, first, own, CHOICES)).prompt_field == TextField("prompt-text", "text")
    assert parse_label_config(view(TEXT, note, first, CHOICES)).prompt_field == TextField("prompt-note", "note")


def test_only_a_text_area_is_a_prompt_field() -> None:
    config = parse_label_config(
        view(TEXT, CHOICES.replace("intent", "prompt"), '<Rating name="response" toName="text"/>')
    )

    assert (config.prompt_field, config.response_field) == (None, None)


@pytest.mark.parametrize(
    "changed",
    [
        view(TEXT, CHOICES),
        f'<?xml version="1.0" encoding="utf-16"?>\n{view(TEXT, CHOICES)}\n',
        view("<Header value='Hi'/>", "<!-- new -->", "<View>", CHOICES, TEXT, "</View>"),
        view(TEXT, CHOICES.replace('value="Refund"', 'value="Refund" background="#f00" selected="true"')),
        view(TEXT, CHOICES.replace('name="intent"', 'name="intent" showInline="true"')),
        view(TEXT, CHOICES, '<TextArea name="prompt" toName="text"/>'),
        view(TEXT, CHOICES, '<TextArea name="reasoning" toName="text"/>'),
        view(TEXT, CHOICES, '<Rating name="stars" toName="text"/>'),
    ],
)
def test_layout_and_colour_are_no_change(changed: str) -> None:
    assert parse_label_config(changed).fingerprint == parse_label_config(view(TEXT, CHOICES)).fingerprint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('value="Refund"', 'value="Refunds"'),
        ('value="Refund"', 'value="Refund" hint="new"'),
        ('value="Refund"', 'value="Refund" alias="r"'),
        ('value="Refund"', 'value="Refund" predicted_values="r"'),
        ('name="intent"', 'name="intents"'),
        ('name="intent"', 'name="intent" choice="multiple"'),
        ('name="intent"', 'name="intent" required="true"'),
        ("<Text", "<HyperText"),
        ("$text", "$body"),
    ],
)
def test_what_answers_depend_on_is_a_change(old: str, new: str) -> None:
    xml = view(TEXT, CHOICES)

    assert parse_label_config(xml.replace(old, new)).fingerprint != parse_label_config(xml).fingerprint


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    config = parse_label_config(view(TEXT, CHOICES))

    rebuilt = replace(config, sources=dict(config.sources))
    assert rebuilt.fingerprint == config.fingerprint
    assert hash(rebuilt) == hash(config)


def test_a_config_nested_20_000_deep_is_read() -> None:
    config = parse_label_config("<View>" * 20_000 + TEXT + CHOICES + "</View>" * 20_000)

    assert len(config.questions) == 1


@given(st.text() | st.text('<>/="$ChoicesTxtVw \n&;!').map(lambda text: view(TEXT, text, CHOICES)))
def test_whatever_stands_in_a_config_it_is_understood_or_refused(xml: str) -> None:
    try:
        config = parse_label_config(xml)
    except LabelConfigError:
        return

    assert config.questions
    assert set(config.sources) == {question.to_name for question in config.questions}
