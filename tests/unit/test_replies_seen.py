"""Replies in the forms that models were seen to give, in several languages; what was asked is ours throughout.

The forms come from reports in public issues, named beside them, and from models' documentation.
"""

import pytest

from prelabel.core.parse import parse_reply
from prelabel.core.types import Choices, Label
from tests.unit.answers import said

INTENT = Choices(
    "intent",
    "text",
    (
        Label("refund", "Refund", aliases=("Rückerstattung", "返金", "退款", "Remboursement")),
        Label("late", "Late delivery", aliases=("Lieferverzug", "配送の遅延", "物流延误", "Livraison en retard")),
        Label("card_not_working", "card_not_working"),
    ),
)
FIRST, SECOND = said({"intent": ("refund",)}, 0.9), said({"intent": ("late",)}, 0.8)

SEEN = {
    "a fence of Markdown (hindsight #645, MiniMax)": """```json
{"answers": [{"id": 1, "label": "1", "confidence": 0.9}, {"id": 2, "label": "2", "confidence": 0.8}]}
```""",
    "a summary of its thoughts, then a fence (Gito #244)": """Looking at the tickets, the first wants [money] back.

```json
[{"id": 1, "label": "1", "confidence": 0.9}, {"id": 2, "label": "2", "confidence": 0.8}]
```""",
    "thoughts in their own tag (DeepSeek-R1's model card)": """<think>
Okay, ticket 1 says {"refund"}. Ticket 2 is about delivery.
</think>

{"answers": [{"id": 1, "label": "1", "confidence": 0.9}, {"id": 2, "label": "2", "confidence": 0.8}]}""",
    "commas before closing brackets (mem0 #5623)": (
        '{"answers": [{"id": 1, "label": "1", "confidence": 0.9,}, {"id": 2, "label": "2", "confidence": 0.8,},],}'
    ),
    "full-width quotes for the structure (Graphify #2286)": (
        "{“answers”:[{“id”:1,“label”:“1”,“confidence”:0.9},{“id”:2,“label”:“2”,“confidence”:0.8}]}"
    ),
    "Python's quotes (plugnplai #57)": (
        "{'answers': [{'id': 1, 'label': '1', 'confidence': 0.9}, {'id': 2, 'label': '2', 'confidence': 0.8}]}"
    ),
    "text after the object, as where the format is ignored (FastFlowLM #554)": """{
  "answers": [
    {"id": 1, "label": "1", "confidence": 0.9},
    {"id": 2, "label": "2", "confidence": 0.8}
  ]
}
This JSON object contains a list of the tickets with their labels ...""",
    "Japanese around it, and labels by name": """以下がラベル付けの結果です。

{"answers": [{"id": 1, "label": "返金", "confidence": 0.9}, {"id": 2, "label": "配送の遅延", "confidence": 0.8}]}

ご確認ください。""",
    "Chinese with its own punctuation": "结果如下：｛“answers”：［｛“id”：1，“label”：“退款”，“confidence”：0.9｝，"  # noqa: RUF001
    "｛“id”：2，“label”：“物流延误”，“confidence”：0.8｝］｝",  # noqa: RUF001
    "German decimals and names": """Hier ist das Ergebnis:
{"answers": [{"id": 1, "label": "rückerstattung", "confidence": "0,9"},
             {"id": 2, "label": "Lieferverzug", "confidence": "80 %"}]}""",
    "French, by name in other case": (
        'Voici : {"answers": [{"id": "1", "label": "REMBOURSEMENT", "confidence": 0.9}, '
        '{"id": "2", "label": "livraison en retard", "confidence": 0.8}]}'
    ),
    "one object a line": """{"id": 1, "label": "1", "confidence": 0.9}
{"id": 2, "label": "2", "confidence": 0.8}""",
    "put into another object": (
        '{"response": {"answers": [{"id": 1, "label": "1", "confidence": 0.9}, '
        '{"id": 2, "label": "2", "confidence": 0.8}]}}'
    ),
    "a draft, then the answer": """{"answers": [{"id": 1, "label": "2", "confidence": 0.2}]}
No, that is not right. Final answer:
{"answers": [{"id": 1, "label": "1", "confidence": 0.9}, {"id": 2, "label": "2", "confidence": 0.8}]}""",
    "numbers for ids of labels, full width": (
        '{"answers": [{"id": 1, "label": 1, "confidence": 0.9}, {"id": 2, "label": "２", "confidence": 0.8}]}'  # noqa: RUF001
    ),
}


@pytest.mark.parametrize("form", SEEN)
def test_a_reply_of_this_form_is_read(form: str) -> None:
    assert parse_reply(SEEN[form], [INTENT], 2) == {1: FIRST, 2: SECOND}


@pytest.mark.parametrize(
    "reply",
    [
        "抱歉，我无法回答这个问题。",  # noqa: RUF001
        "I'm sorry, but I can't help with that.",
        "Es tut mir leid, dabei kann ich nicht helfen.",
        '{"error": {"message": "Provider returned error", "code": 502}}',
        '{"answers": [{\'id\': 1, "label": "1"',
        "1. Refund\n2. Late delivery",
        '{"1": "Refund", "2": "Late delivery"}',
        "<tool_call>label(1)</tool_call>",
    ],
)
def test_a_reply_without_an_answer_of_our_form_is_none(reply: str) -> None:
    assert parse_reply(reply, [INTENT], 2) == {}
