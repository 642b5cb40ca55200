"""How probable an LLM's labels were: of the label's own tokens, and of none where it is not certain which those are."""

import json
import math
import re
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prelabel.core.parse import parse_reply
from prelabel.core.schema import label_ids
from prelabel.core.token_probability import Token, label_probabilities
from prelabel.core.types import Choices, Label, Labeled
from tests.fakes.llm_tokens import CHARACTERS, MERGED, USUAL
from tests.unit.answers import said

LABELS = tuple(Label(f"label {chr(97 + number)}", f"Label {chr(97 + number)}") for number in range(12))
SINGLE = Choices("intent", "text", LABELS)
MULTIPLE = Choices("topics", "text", LABELS, multiple=True)
REQUIRED = Choices("topics", "text", LABELS, multiple=True, required=True)
SURE = -1e-7
SINGLE_OF_12 = '{"answers": [{"id": 1, "label": "12", "confidence": 0.9}]}'


def tokens(reply: str, unsure: dict[str, float], cut: re.Pattern[str] = USUAL) -> list[Token]:
    """All near certain but those that are named."""
    found = cut.findall(reply)
    assert set(unsure) <= set(found), found
    return [(token, math.log(unsure[token]) if token in unsure else SURE) for token in found]


def of_texts(*texts: str, log: float = -0.5) -> list[Token]:
    return [(text, log) for text in texts]


def reply(*answers: object) -> str:
    return json.dumps({"answers": answers}, ensure_ascii=False)


def found(text: str, told: Iterable[Token], question: Choices = SINGLE, count: int = 1) -> dict[int, dict[str, float]]:
    return label_probabilities(text, list(told), [question], count)


@pytest.mark.parametrize(
    ("cut", "unsure", "probability"),
    [
        (USUAL, {"12": 0.6}, 0.6),
        (USUAL, {"12": 0.6, '",': 0.9}, 0.6 * 0.9),
        (USUAL, {"label": 0.1, "9": 0.1, "confidence": 0.1, "answers": 0.1}, 1.0),
        (MERGED, {' "1': 0.6, '2"': 0.5}, 0.6 * 0.5),
        (CHARACTERS, {"2": 0.5}, 0.5),
    ],
)
def test_the_tokens_of_the_id_count_up_to_the_quote_after_it(
    cut: re.Pattern[str], unsure: dict[str, float], probability: float
) -> None:
    assert found(SINGLE_OF_12, tokens(SINGLE_OF_12, unsure, cut)) == {1: {"intent": pytest.approx(probability)}}


@pytest.mark.parametrize(
    ("text", "told", "probability"),
    [
        (reply({"id": 1, "labels": ["1", "12"]}), {"12": 0.6}, 0.6),
        (reply({"id": 1, "labels": ["1", "12"]}), {"12": 0.6, '",': 0.9, '"]}]}': 0.8}, 0.6 * 0.9 * 0.8),
        (reply({"id": 1, "labels": []}), {" []}]}": 0.7}, 0.7),
    ],
)
def test_of_a_set_not_to_go_on_counts_too(text: str, told: dict[str, float], probability: float) -> None:
    assert found(text, tokens(text, told), MULTIPLE) == {1: {"topics": pytest.approx(probability)}}


def test_what_stands_between_the_labels_of_a_set_decides_whether_there_is_another() -> None:
    text = '{"answers": [{"id": 1, "labels": ["1"\n]}]}'
    told = [('{"answers": [{"id": 1, "labels": [', SURE), ('"1"', SURE), ("\n", math.log(0.4)), ("]}]}", SURE)]

    assert found(text, told, MULTIPLE) == {1: {"topics": pytest.approx(0.4)}}


def test_each_ticket_and_each_control_has_its_own() -> None:
    text = reply(
        {"id": 2, "label_1": "3", "labels_2": ["4"], "confidence": 0.9},
        {"id": 1, "label_1": "none", "labels_2": ["5", "6"], "confidence": 0.9},
    )
    told = tokens(text, {"3": 0.3, "4": 0.4, "5": 0.5, "6": 0.6})

    both = label_probabilities(text, told, [SINGLE, MULTIPLE], 2)

    assert both == {
        2: {"intent": pytest.approx(0.3), "topics": pytest.approx(0.4)},
        1: {"topics": pytest.approx(0.3)},
    }


@pytest.mark.parametrize(
    "comment",
    [
        'Not {"id": 1, "label": "2"}, and not "label": "3"',
        '"label": "4", \\"label\\": \\"4\\" \\',
        '{"answers": [{"id": 1, "label": "5", "confidence": 1}]}',
        "\n[ü 返金 {",
        '"',
        "",
    ],
)
def test_a_comment_that_reads_like_an_answer_is_none(comment: str) -> None:
    text = reply({"id": 1, "comment": comment, "label": "12", "confidence": 0.9})
    told = [(token, math.log(0.6) if token == "12" else -0.2) for token in USUAL.findall(text)]

    assert found(text, told) == {1: {"intent": pytest.approx(0.6 * math.exp(-0.2))}}


@pytest.mark.parametrize(
    "told",
    [
        of_texts("Well, {maybe}.", "</think>", *CHARACTERS.findall(SINGLE_OF_12), "<|im_end|>", ""),
        of_texts(*(token.replace(" ", "\u2581") for token in CHARACTERS.findall(SINGLE_OF_12))),
        of_texts(*(token.strip() for token in CHARACTERS.findall(SINGLE_OF_12)), "\n"),
        of_texts(*CHARACTERS.findall(SINGLE_OF_12), log=-0.5 + 1e-9),
    ],
    ids=["among others", "SentencePiece's spaces", "no spaces", "rounded"],
)
def test_tokens_are_found_however_a_server_shows_them(told: list[Token]) -> None:
    assert found(SINGLE_OF_12, told) == {1: {"intent": pytest.approx(math.exp(-1.5))}}


@pytest.mark.parametrize("parts", [("\ufffd", "\ufffd"), (" \ufffd", "\ufffd\ufffd"), ("", "\U0001f642")])
def test_a_character_may_be_spread_over_tokens(parts: tuple[str, str]) -> None:
    before, after = '{"answers": [{"id": 1, "comment": "So ', '!", "label": "'
    text = f'{before}\U0001f642{after}12"}}]}}'

    assert found(text, of_texts(before, *parts, after, "12", '"', "}]}")) == {
        1: {"intent": pytest.approx(math.exp(-1))}
    }


@pytest.mark.parametrize(
    "told",
    [
        [],
        of_texts("hello"),
        of_texts(SINGLE_OF_12[:-2]),
        of_texts(SINGLE_OF_12.replace("12", "11")),
        of_texts(SINGLE_OF_12, " or ", SINGLE_OF_12),
        of_texts("token_id:12", "token_id:7"),
        of_texts(SINGLE_OF_12, log=0.0),
        of_texts(SINGLE_OF_12, log=math.nan),
        of_texts(SINGLE_OF_12, log=math.inf),
        of_texts(SINGLE_OF_12, log=-math.inf),
        [*of_texts(SINGLE_OF_12, log=0.7), ("", -0.1)],
    ],
    ids=["none", "others", "cut off", "another label", "twice", "numbers", "zeros", "nan", "inf", "-inf", "positive"],
)
def test_tokens_that_are_not_the_replys_or_have_no_probability_tell_nothing(told: list[Token]) -> None:
    assert found(SINGLE_OF_12, told) == {}


def test_an_impossible_token_has_probability_0() -> None:
    assert found(SINGLE_OF_12, of_texts(*CHARACTERS.findall(SINGLE_OF_12), log=-9999.0)) == {1: {"intent": 0.0}}
    assert found(SINGLE_OF_12, of_texts(*CHARACTERS.findall(SINGLE_OF_12), log=-1e308)) == {1: {"intent": 0.0}}


def test_what_is_a_little_above_0_is_certain() -> None:
    assert found(SINGLE_OF_12, [*of_texts(SINGLE_OF_12, log=1e-6), ("", -0.1)]) == {1: {"intent": 1.0}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Refund.",
        '{"id": 1, "label": "12"}',
        '[{"id": 1, "label": "12"}]',
        '{"response": {"answers": [{"id": 1, "label": "12"}]}}',
        '{"answers": [{"id": 2, "label": "12"}]}',
        '{"answers": [{"id": 0, "label": "12"}]}',
        '{"answers": [{"id": "1", "label": "12"}]}',
        '{"answers": [{"id": true, "label": "12"}]}',
        '{"answers": [{"id": 1.0, "label": "12"}]}',
        '{"answers": [{"label": "12"}]}',
        '{"answers": [{"id": 1, "label": 12}]}',
        '{"answers": [{"id": 1, "label": ["12"]}]}',
        '{"answers": [{"id": 1, "label": "Label a"}]}',
        '{"answers": [{"id": 1, "label": " 12"}]}',
        '{"answers": [{"id": 1, "label": "\\u0031"}]}',
        '{"answers": [{"id": 1, "label": "none"}]}',
        '{"answers": [{"id": 1, "label": "13"}]}',
        '{"answers": [{"id": 1, "labels": "12"}]}',
        '{"answers": [{"id": 1, "confidence": 0.9}]}',
        '{"answers": [{"id": 1, "label": "12", "label": "11"}]}',
        '{"answers": [{"id": 1, "label": "12", "l\\u0061bel": "11"}]}',
        '{"answers": [{"id": 1, "label": "12"}, {"id": 1, "label": "12"}]}',
        '{"answers": [{"id": 1, "label": "12"}, {"id": "1", "label": "12"}]}',
        '{"answers": [{"id": 1, "label": "12"}], "answers": [{"id": 1, "label": "11"}]}',
        '{"answers": [{"id": 1, "label": "12", "why": {"id": 1, "label": "11"}}]}',
        '{"answers": [{"id": 1, "label": "12",}]}',
        '{"answers": [{"id": 1, "label": "12", "confidence": high}]}',
        "{'answers': [{'id': 1, 'label': '12'}]}",
        '{"answers": [{"id": 1, "label": "12"}, {"id": 2, "la',
        '{"answers": [{"id": 1, "label": "11"}]} No: {"answers": [{"id": 1, "label": "12"}]}',
        'For example [1]: {"answers": [{"id": 1, "label": "12"}]}',
        '{"answers": []}',
        f'{{"answers": [{{"id": 1, "label": "12", "confidence": {"9" * 5000}}}]}}',
    ],
)
def test_a_reply_that_is_not_plain_has_no_probability(text: str) -> None:
    assert found(text, of_texts(*CHARACTERS.findall(text))) == {}


@pytest.mark.parametrize("labels", [["1", "1"], ["none"], ["1", "13"], [1], [["1"]], "1", None, {"1": 1}])
def test_a_set_that_is_not_plain_has_no_probability(labels: object) -> None:
    text = reply({"id": 1, "labels": labels})

    assert found(text, of_texts(*CHARACTERS.findall(text)), MULTIPLE) == {}


@pytest.mark.parametrize("around", ["```json\n{}\n```", "Sure!\n\n{}\nThat is all.", "\n {}\n"])
def test_prose_around_the_form_does_no_harm(around: str) -> None:
    text = around.replace("{}", SINGLE_OF_12)

    assert found(text, of_texts(*CHARACTERS.findall(text))) == {1: {"intent": pytest.approx(math.exp(-1.5))}}


def test_an_answer_comes_with_it() -> None:
    told = tokens(SINGLE_OF_12, {"12": 0.6})

    assert parse_reply(SINGLE_OF_12, [SINGLE], 1, told) == {1: said({"intent": ("label l",)}, 0.9, logprob=0.6)}


COMMENTS = st.text(max_size=8) | st.sampled_from(['"label": "2"', '{"id": 1', "[{", '"answers"', "\\", "\U0001f642 ok"])
IDS = st.sampled_from(sorted(label_ids(LABELS)))
LOGS = st.floats(-3, -1e-9)


@st.composite
def plain(draw: st.DrawFn) -> tuple[str, list[Token], dict[int, dict[str, float]]]:
    """A reply in the form that was asked for, cut anywhere, and what is to be found in it."""
    pieces: list[tuple[str, tuple[int, str] | None]] = [('{"answers": [', None)]
    numbers = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4, unique=True))
    for place, number in enumerate(numbers):
        comment = json.dumps(draw(COMMENTS), ensure_ascii=draw(st.booleans()))
        ids = draw(st.lists(IDS, max_size=3, unique=True))
        pieces += [
            (f'{", " if place else ""}{{"id": {number}, "comment": {comment}, "label_1": "', None),
            (f'{draw(IDS)}"', (number, "intent")),
            (', "labels_2": [', None),
            (f"{', '.join(map(json.dumps, ids))}]", (number, "topics")),
            (', "confidence": 0.5}', None),
        ]
    pieces.append(("]}", None))
    text = "".join(piece for piece, _ in pieces)
    cuts = sorted(draw(st.sets(st.integers(1, len(text) - 1), max_size=40)))
    bounds = list(zip([0, *cuts], [*cuts, len(text)], strict=True))
    logs = draw(st.lists(LOGS, min_size=len(bounds), max_size=len(bounds)))
    expected: dict[int, dict[str, float]] = {}
    start = 0
    for piece, name in pieces:
        end = start + len(piece)
        if name:
            own = [log for (left, right), log in zip(bounds, logs, strict=True) if left < end and right > start]
            expected.setdefault(name[0], {})[name[1]] = math.exp(sum(own))
        start = end
    return text, [(text[a:b], log) for (a, b), log in zip(bounds, logs, strict=True)], expected


@given(plain())
def test_of_whatever_tokens_those_count_that_overlap_the_label(
    drawn: tuple[str, list[Token], dict[int, dict[str, float]]],
) -> None:
    text, told, expected = drawn

    probabilities = label_probabilities(text, told, [SINGLE, MULTIPLE], 4)

    assert probabilities == {number: pytest.approx(by_control) for number, by_control in expected.items()}


FRAGMENTS = st.sampled_from(
    [
        '{"answers": [',
        "]}",
        "[",
        "{",
        "}",
        ",",
        '"',
        "\\",
        "'",
        '"label_1": "3"',
        '{"id": 2}',
        "1",
        "```\n",
        " ",
        "\u201c",
    ]
)
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), FRAGMENTS | st.just("")), max_size=3)


@given(plain(), EDITS)
def test_a_probability_is_that_of_the_label_that_is_read(
    drawn: tuple[str, list[Token], dict[int, dict[str, float]]], edits: list[tuple[float, int, str]]
) -> None:
    text = drawn[0]
    for share, gone, new in edits:
        at = int(share * len(text))
        text = text[:at] + new + text[at + gone :]
    logs = [-1e-5 * (place + 1) for place in range(len(text))]

    probabilities = label_probabilities(text, list(zip(text, logs, strict=True)), [SINGLE, REQUIRED], 4)

    answers = parse_reply(text, [SINGLE, REQUIRED], 4)
    for number in probabilities.keys() & answers.keys():
        answer = answers[number]
        for control, probability in probabilities[number].items():
            labels = answer.labels.get(control, ()) if isinstance(answer, Labeled) else ()
            assert any(probability == pytest.approx(each, rel=1e-9) for each in readings(text, labels, control, logs))


def readings(text: str, labels: Sequence[str], control: str, logs: Sequence[float]) -> Iterable[float]:
    """The probability of ``labels`` at each place where they stand."""
    chosen = {key for key, label in label_ids(LABELS).items() if label.value in labels}
    written = r'"[^"]*"' if control == "intent" else r"\[[^\[\]]*\]"
    for each in re.finditer(f"(?=({written}))", text):
        if set(re.findall(r'"([^"]*)"', each[1])) == chosen:
            yield math.exp(sum(logs[each.start(1) + 1 : each.end(1)]))


ODD_LOGS = st.floats() | st.sampled_from([0.0, -0.1, 5.0, -9999.0])
ODD_TOKENS = st.lists(st.tuples(st.text(max_size=6), ODD_LOGS), max_size=12)


@given(plain(), ODD_TOKENS, ODD_LOGS, st.text() | st.text('[]{}",:1'), st.integers(0, 5))
def test_whatever_a_server_sends_is_a_probability_or_none(
    drawn: tuple[str, list[Token], dict[int, dict[str, float]]],
    others: list[Token],
    log: float,
    prose: str,
    count: int,
) -> None:
    text, told, _ = drawn
    odd = [(token, log) for token, _ in told]
    for sent in (others, odd, [*others, *odd], [*odd, *others]):
        for said_ in (text, prose, prose + text):
            for by_control in label_probabilities(said_, sent, [SINGLE, MULTIPLE], count).values():
                assert all(0 <= probability <= 1 for probability in by_control.values())
