"""The sample in ``examples/``: the dialogues and what is said of them fit together."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from prelabel.core.types import Ticket
from prelabel.studio.annotations import read_labels, read_regions
from prelabel.studio.label_config import parse_label_config
from prelabel.studio.tickets import read_ticket

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIG = parse_label_config((EXAMPLES / "dialogues.xml").read_text("utf-8"))
DIALOGUES: list[dict[str, Any]] = json.loads((EXAMPLES / "dialogues.json").read_text("utf-8"))
REVIEWED = [task for task in DIALOGUES if "annotations" in task]
TOPICS = [label.value for question in CONFIG.questions for label in question.labels]
CHOSEN = [
    read_labels(read_regions(annotation), CONFIG).get("topics", ())
    for task in REVIEWED
    for annotation in task["annotations"]
]


def test_half_of_the_dialogues_are_reviewed_once_and_with_a_topic() -> None:
    assert (len(REVIEWED), len(CHOSEN), all(CHOSEN)) == (len(DIALOGUES) / 2, len(REVIEWED), True)


def test_what_is_chosen_is_in_the_config() -> None:
    assert {topic for topics in CHOSEN for topic in topics} - {*TOPICS} == set()


def test_every_topic_is_among_the_reviewed_at_least_three_times() -> None:
    counts = Counter(topic for topics in CHOSEN for topic in topics)

    assert [topic for topic in TOPICS if counts[topic] < 3] == []


def test_what_is_chosen_was_chosen_by_hand_for_the_config_s_own_tags() -> None:
    regions = [region for task in REVIEWED for each in task["annotations"] for region in read_regions(each)]

    assert {(r["from_name"], r["to_name"], r["type"], r["origin"]) for r in regions} == {
        ("topics", "chat", "choices", "manual")
    }


def test_every_dialogue_has_a_text_of_its_own() -> None:
    tickets = [read_ticket(task, CONFIG) for task in DIALOGUES]
    texts = {ticket.text for ticket in tickets if isinstance(ticket, Ticket)}

    assert len(texts) == len(DIALOGUES)


def test_speakers_are_roles() -> None:
    assert {turn["author"] for task in DIALOGUES for turn in task["data"]["dialogue"]} == {"Customer", "Agent"}
