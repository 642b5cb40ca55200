"""What an LLM's answers carry beside their labels, over HTTP: token probabilities, stated confidence, agreement."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from prelabel.asking.ask import ask
from prelabel.asking.requests import Assignment, Told
from prelabel.asking.several import ask_several, sampling
from prelabel.config import Settings
from prelabel.core.signals import AGREEMENT, LOGPROB, STATED
from prelabel.core.types import Abstained, Choices, Label, Labeled, Outcome, Ticket
from prelabel.llm.loop import LLM
from tests.fakes import llm_faults as faults
from tests.fakes import llm_moods as moods
from tests.fakes.llm_moods import Mood
from tests.fakes.llm_policy import Policy, Verdict
from tests.fakes.llm_replies import Fault, Reply
from tests.fakes.llm_request import Asked
from tests.fakes.llm_server import FakeLLM
from tests.fakes.llm_tokens import CHARACTERS, MERGED, USUAL

NAMES = tuple(f"topic {letter}" for letter in "abcdefghijkl")
INTENT = Choices("intent", "text", tuple(Label(name, name) for name in NAMES))
TONE = Choices("tone", "text", (Label("calm", "calm"), Label("angry", "angry"), Label("rude", "rude")), multiple=True)
TICKETS = [f"ticket {number}" for number in range(1, 13)]
PATIENCE_S = 20.0

AskThem = Callable[..., list[Outcome]]


@pytest.fixture
def ask_them(llm: FakeLLM) -> Iterator[AskThem]:
    """Ask about tickets as prelabel does; what is learned of the server stays for the next call."""
    asking = LLM(64)

    def ask_them(
        texts: Sequence[str], questions: Sequence[Choices] = (INTENT,), *, with_comment: bool = False, **env: str
    ) -> list[Outcome]:
        settings = Settings.from_env({"OPENAI_API_KEY": llm.api_key, "OPENAI_BASE_URL": llm.url, **env})
        several = partial(ask_several, responses=settings.num_responses) if settings.num_responses > 1 else ask
        told = [Told(Ticket(number, text)) for number, text in enumerate(texts)]
        assignment = Assignment(tuple(questions), with_comment=with_comment)
        work = partial(several, assignment=assignment, told=told, deadline_s=PATIENCE_S)
        return asking.run(sampling(settings), work, PATIENCE_S)

    yield ask_them
    asking.close()


def signals(outcome: Outcome) -> dict[str, Any]:
    assert isinstance(outcome, Labeled)
    return {control: pytest.approx(dict(each.signals), abs=0.002) for control, each in outcome.grounds.items()}


def believing(*others: str, **more: Any) -> Policy:
    """Each ticket has the topic of its number, the less probable the higher it is; :param others: labels beside it."""

    def believe(text: str, asked: Asked) -> Verdict:
        number = int(text.rsplit(maxsplit=1)[-1])
        return Verdict((NAMES[number - 1], *others), 0.9, probability=1 - number / 20, **more)

    return believe


@pytest.mark.parametrize("tokens", [USUAL, MERGED, CHARACTERS], ids=["usual", "merged", "characters"])
def test_each_label_has_the_probability_of_its_own_tokens(llm: FakeLLM, ask_them: AskThem, tokens: Any) -> None:
    llm.answer, llm.mood = believing("calm", "rude"), Mood(tokens=tokens)

    outcomes = ask_them(TICKETS, (INTENT, TONE))

    expected = [{LOGPROB: 1 - number / 20, STATED: 0.9} for number in range(1, 13)]
    assert [signals(outcome) for outcome in outcomes] == [{"intent": each, "tone": each} for each in expected]
    assert [outcome.labels for outcome in outcomes if isinstance(outcome, Labeled)] == [
        {"intent": (name,), "tone": ("calm", "rude")} for name in NAMES
    ]
    assert llm.complaints == []


@pytest.mark.parametrize(
    "comment",
    [
        '{"id": 2, "label": "3", "confidence": 1}',
        '", "label": "7", "confidence": 1}, {"id": 2, "label": "8',
        '"answers": [{"id": 1, "label": "5"}]',
        'Money \U0001f4b6, not "label": "2" \U0001f642 \\',
        "返金してほしい [{\u2028",
    ],
)
def test_a_comment_that_imitates_an_answer_is_none(llm: FakeLLM, ask_them: AskThem, comment: str) -> None:
    llm.answer = believing(comment=comment)

    outcomes = ask_them(TICKETS, with_comment=True)

    assert [signals(outcome) for outcome in outcomes] == [
        {"intent": {LOGPROB: 1 - number / 20, STATED: 0.9}} for number in range(1, 13)
    ]
    assert {outcome.comment for outcome in outcomes if isinstance(outcome, Labeled)} == {comment}


@pytest.mark.parametrize(
    ("mood", "refused"),
    [
        (Mood(refuses=("logprobs",)), 1),
        (Mood(refuses=("logprobs",), refuse=lambda name, value: Fault(500)), 1),
        (Mood(tokens=None), 0),
        (moods.REASONING, 3),
    ],
    ids=["refused", "a 500 that says nothing", "ignored", "reasoning"],
)
def test_without_token_probabilities_the_stated_confidence_is_left(
    llm: FakeLLM, ask_them: AskThem, mood: Mood, refused: int
) -> None:
    llm.answer, llm.mood = believing(), mood

    outcomes = [*ask_them(TICKETS), *ask_them(["ticket 3"])]

    assert [signals(outcome) for outcome in outcomes] == [{"intent": {STATED: 0.9}}] * 13
    assert (llm.refused, len(llm.history), llm.complaints) == (refused, 3, [])
    assert ["logprobs" in asked.body for asked in llm.history] == [mood.tokens is None] * 3


def test_an_llm_that_states_no_confidence_has_its_tokens(llm: FakeLLM, ask_them: AskThem) -> None:
    llm.enqueue(json.dumps({"answers": [{"id": 1, "label": "12", "confidence": None}]}))

    [outcome] = ask_them(TICKETS[:1])

    assert signals(outcome) == {"intent": {LOGPROB: 0.9}}
    assert isinstance(outcome, Labeled)
    assert outcome.score == 0.5


@pytest.mark.parametrize(
    ("spoilt", "has_logprobs"),
    [
        (faults.FENCED, True),
        (faults.PROSE, False),
        (faults.MALFORMED, False),
        (faults.MISSPELLED, False),
        (faults.NO_LOGPROBS, False),
    ],
)
def test_only_a_reply_in_the_form_that_was_asked_for_has_token_probabilities(
    llm: FakeLLM, ask_them: AskThem, spoilt: Reply, has_logprobs: bool
) -> None:
    llm.answer = believing()
    llm.enqueue(spoilt)

    [outcome] = ask_them(["ticket 12"])

    told = {LOGPROB: 0.4, STATED: 0.9} if has_logprobs else {STATED: 0.9}
    assert isinstance(outcome, Labeled)
    assert (outcome.labels, signals(outcome)) == ({"intent": ("topic l",)}, {"intent": told})
    assert len(llm.history) == 1


def test_five_answers_are_drawn_and_the_share_that_agrees_is_told(llm: FakeLLM, ask_them: AskThem) -> None:
    turns = {"sure": "aaaaa", "torn": "abaca", "lost": "-a---", "even": "ab-ba"}
    count: Counter[str] = Counter()

    def answer(text: str, asked: Asked) -> Verdict:
        letter = turns[text][count[text]]
        count[text] += 1
        return Verdict() if letter == "-" else Verdict((f"topic {letter}",), 0.8, probability=0.5)

    llm.answer = answer

    sure, torn, lost, even = ask_them([*turns], NUM_RESPONSES="5")

    said = {LOGPROB: 0.5, STATED: 0.8}
    assert signals(sure) == {"intent": {AGREEMENT: 1.0, **said}}
    assert signals(torn) == {"intent": {AGREEMENT: 0.6, **said}}
    assert lost == Abstained("the LLM says that no label fits")
    assert signals(even) == {"intent": {AGREEMENT: 0.4, **said}}
    assert [outcome.labels["intent"] for outcome in (sure, torn) if isinstance(outcome, Labeled)] == [("topic a",)] * 2
    assert [asked.temperature for asked in llm.history] == [0.7] * 5
    assert [asked.texts for asked in llm.history] == [tuple(turns)] * 5


def test_a_fifth_of_the_replies_spoilt_costs_no_ticket_its_majority(llm: FakeLLM, ask_them: AskThem) -> None:
    llm.answer, llm.faults = believing(), faults.FaultMix(0.2, tuple(faults.REPLIES), seed=3)

    outcomes = ask_them(TICKETS, NUM_RESPONSES="5")

    assert [outcome.labels["intent"] for outcome in outcomes if isinstance(outcome, Labeled)] == [(n,) for n in NAMES]
    assert llm.faults.drawn.total() > 0
