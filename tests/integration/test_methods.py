"""The methods of labelling, as Label Studio sees them: who is asked, who has the last word, and what is kept of it."""

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from prelabel.core.signals import AGREEMENT, POOL, REVIEWED, RULES, STATED, WEAK
from prelabel.core.types import Annotation, LabelSource, Prediction
from prelabel.guidance.rules import RuleSource
from prelabel.project import Project
from prelabel.quality.calibration import Calibration
from prelabel.quality.calibrator import Calibrator, Term
from prelabel.quality.fitting import EvidenceCase, fit_scoring
from prelabel.quality.fusion import Vote
from prelabel.quality.heard import Heard
from prelabel.quality.intervals import Tally
from prelabel.quality.rule_record import RuleRecord
from prelabel.quality.scoring import Learned, Scoring
from prelabel.quality.weak_model import ABOUT, Guess
from prelabel.store.keys import ProjectRef
from tests.e2e.waiting import until
from tests.fakes.llm_policy import Verdict
from tests.fakes.llm_replies import Fault
from tests.fakes.llm_request import Asked
from tests.fakes.llm_server import FakeLLM
from tests.integration.conftest import PROJECT, TICKETS, Backend, Start, labels_of, task

REF = ProjectRef.parse(PROJECT)
METHODS = ("auto", "llm", "weak_model", "rules", "ensemble")
SAID = {"refund": "give me my money back", "shipping": "where is my parcel", "other": "the app does not start"}
RULE_FILE = """
money back: {control: intent, label: refund, keywords: [money back, refund]}
parcel: {control: intent, label: shipping, keywords: [parcel]}
"""
REFUND = {"intent": ["refund"]}
SHIPPING = {"intent": ["shipping"]}
OTHER = {"intent": ["other"]}


@pytest.fixture
def rules_file(tmp_path: Path) -> str:
    file = tmp_path / "rules.yaml"
    file.write_text(RULE_FILE)
    return str(file)


def review(backend: Backend, texts: Mapping[str, str], first: int = 1000) -> None:
    """People have labelled these tickets."""
    backend.work.annotations.put(
        REF,
        [
            Annotation(number, number, text, {"intent": (label,)}, LabelSource.PERSON, 1.0, author=1)
            for number, (text, label) in enumerate(texts.items(), first)
        ],
    )


def review_many(backend: Backend, count: int = 60) -> None:
    labels = list(SAID)
    review(backend, {f"{SAID[labels[number % 3]]} {number}": labels[number % 3] for number in range(count)}, first=3000)


def opened(backend: Backend) -> Project:
    return backend.work.service.open(REF, TICKETS)


def freeze(backend: Backend, learned: Learned) -> None:
    """Evidence has taught this."""
    scoring = Scoring(100, {"intent": learned})
    backend.work.projects.freeze_scoring(opened(backend).state, opened(backend).version, scoring.to_json())


def proven(backend: Backend) -> RuleRecord:
    """All rules were right of sixty."""
    project = opened(backend)
    found = RuleSource().rules(project.settings, project.config.questions)
    return RuleRecord.of({each.rule.fingerprint: Tally(60, 60) for each in found})


def taken_at_its_word(stage: str, signal: str, intercept: float = 0.0) -> Calibration:
    return Calibration({stage: Calibrator(100, intercept, {signal: Term(1.0, 0.0)})})


def kept(backend: Backend, *numbers: int) -> list[Prediction]:
    return list(backend.work.projects.predicted(REF, numbers).values())


def stages(backend: Backend, *numbers: int) -> list[str]:
    return [each.grounds["intent"].stage for each in kept(backend, *numbers)]


def asked(llm: FakeLLM, model: str = "gpt-4o-mini") -> list[str]:
    return sorted(text for each in llm.history if each.model == model for text in each.texts)


def test_by_llm_every_ticket_is_asked_whatever_else_is_known(start: Start, llm: FakeLLM, rules_file: str) -> None:
    backend = start(LABELING_METHOD="llm", RULES_FILE=rules_file)
    review(backend, {"my money back": "refund"})
    freeze(backend, Learned(taken_at_its_word("weak_model", WEAK, 9.0), rules=proven(backend)))
    llm.answer = lambda text, asked: "shipping"

    items = backend.predict(task(1, "my money back"), task(2, "money back, please"))

    assert [labels_of(item) for item in items] == [SHIPPING, SHIPPING]
    assert asked(llm) == ["money back, please", "my money back"]
    assert stages(backend, 1, 2) == ["llm", "llm"]


def test_by_rules_no_llm_is_asked_and_tickets_without_a_rule_are_a_persons(
    start: Start, llm: FakeLLM, rules_file: str
) -> None:
    backend = start(LABELING_METHOD="rules", RULES_FILE=rules_file)

    items = backend.predict(
        task(1, "My money back!"), task(2, "the parcel"), task(3, "hello"), task(4, "a refund for the parcel")
    )

    assert [labels_of(item) for item in items] == [REFUND, SHIPPING, {}, {}]
    assert [item["score"] for item in items] == [0, 0, 0, 0]
    assert llm.history == []
    assert [each.labels for each in kept(backend, 1, 2, 3, 4)] == [
        *({"intent": ("refund",)}, {"intent": ("shipping",)}, {}, {})
    ]
    assert opened(backend).version.startswith("rules-p0-g1-")


def test_the_score_of_a_rule_is_what_evidence_has_shown_of_it(start: Start, rules_file: str) -> None:
    backend = start(LABELING_METHOD="rules", RULES_FILE=rules_file)
    freeze(backend, Learned(rules=proven(backend)))

    [item] = backend.predict(task(1, "My money back!"))

    [found] = kept(backend, 1)
    assert item["score"] == pytest.approx(61 / 62, abs=0.002)
    assert found.grounds["intent"].signals == {RULES: pytest.approx(item["score"], abs=0.0001)}


def test_by_weak_model_no_llm_is_asked(start: Start, llm: FakeLLM) -> None:
    backend = start(LABELING_METHOD="weak_model")
    review_many(backend)

    items = backend.predict(task(1, "where is the parcel of mine"), task(2, "the app does not even start"))

    assert [labels_of(item) for item in items] == [SHIPPING, OTHER]
    assert stages(backend, 1, 2) == ["weak_model", "weak_model"]
    assert all(0.3 < item["score"] < 1 for item in items)
    assert llm.history == []


def test_a_weak_model_without_reviews_fails_and_does_not_ask_the_llm(start: Start, llm: FakeLLM) -> None:
    backend = start(LABELING_METHOD="weak_model")

    assert backend.predict(task(1, "my parcel")) == [{}]
    assert (llm.history, kept(backend, 1)) == ([], [])


def test_a_weak_model_that_is_not_fitted_in_time_leaves_the_task_to_be_asked_about_again(start: Start) -> None:
    backend = start(LABELING_METHOD="weak_model", PREDICT_DEADLINE_SINGLE="0.1")
    review_many(backend, 2000)

    in_time = backend.predict(task(1, "where is the parcel of mine"))
    later = until(lambda: [item for item in backend.predict(task(1, "where is the parcel of mine")) if item])

    assert (in_time, [labels_of(item) for item in later]) == ([{}], [SHIPPING])


def test_the_ensemble_asks_about_all_and_fuses(start: Start, llm: FakeLLM) -> None:
    backend = start(LABELING_METHOD="ensemble")
    review_many(backend)
    llm.answer = lambda text, asked: Verdict(("refund",), 0.4)

    items = backend.predict(task(1, "where is the parcel of mine"), task(2, "give me my money back now"))

    assert labels_of(items[1]) == REFUND
    assert stages(backend, 1, 2) == ["ensemble", "ensemble"]
    assert [POOL in each.grounds["intent"].signals for each in kept(backend, 1, 2)] == [True, True]
    assert items[1]["score"] > items[0]["score"]
    assert len(asked(llm)) == 2


def test_what_people_said_of_the_same_text_need_not_be_asked(start: Start, llm: FakeLLM) -> None:
    backend = start()
    review(backend, {"My  card": "refund", "my parcel": "shipping"})
    review(backend, {"MY PARCEL": "other"}, first=2000)

    items = backend.predict(task(1, "my card"), task(2, "my parcel"), task(3, "my cart"))

    assert labels_of(items[0]) == REFUND
    assert items[0]["score"] == pytest.approx(0.75, abs=0.002)
    assert stages(backend, 1, 2, 3) == ["reviewed", "llm", "llm"]
    assert kept(backend, 1)[0].grounds["intent"].signals.keys() >= {REVIEWED}
    assert asked(llm) == ["my cart", "my parcel"]


def test_a_tasks_own_review_is_no_precedent(start: Start, llm: FakeLLM) -> None:
    backend = start()
    review(backend, {"my card": "refund"}, first=1)

    backend.predict(task(1, "my card"))

    assert stages(backend, 1) == ["llm"]


def test_without_evidence_neither_rules_nor_the_weak_model_settle_anything(
    start: Start, llm: FakeLLM, rules_file: str
) -> None:
    backend = start(RULES_FILE=rules_file)
    review_many(backend)
    llm.answer = lambda text, asked: "other"

    items = backend.predict(task(1, "my money back"), task(2, "where is my parcel now"))

    assert [labels_of(item) for item in items] == [OTHER, OTHER]
    assert stages(backend, 1, 2) == ["llm", "llm"]
    assert asked(llm) == ["my money back", "where is my parcel now"]


def test_with_evidence_proven_rules_and_a_sure_weak_model_do(start: Start, llm: FakeLLM, rules_file: str) -> None:
    backend = start(RULES_FILE=rules_file)
    review_many(backend)
    freeze(backend, Learned(taken_at_its_word("weak_model", WEAK, 9.0), rules=proven(backend)))
    llm.answer = lambda text, asked: "other"

    items = backend.predict(task(1, "refund the app"), task(2, "the app does not start any more"))

    assert [labels_of(item) for item in items] == [REFUND, OTHER]
    assert stages(backend, 1, 2) == ["rules", "weak_model"]
    assert items[1]["score"] >= 0.95
    assert llm.history == []


def test_requests_go_down_as_evidence_says_who_is_sure(start: Start, llm: FakeLLM) -> None:
    """A weak model that is right where it says so."""
    backend = start(LLM_TASKS_PER_REQUEST="1", ANSWER_CACHE_DAYS="0")
    review_many(backend)
    tasks = [task(number, f"{text} {number}") for number in range(1, 10) for text in ("so where is my parcel", "hello")]
    tasks = [{**each, "id": number} for number, each in enumerate(tasks, 1)]
    backend.predict(*tasks)
    before = len(llm.history)
    sure = {each["data"]["text"] for each in tasks if each["data"]["text"].startswith("so where")}
    cases = [made_up(number, 0.9 if number % 2 else 0.4, is_right=number % 2 == 1) for number in range(200)]
    scoring = fit_scoring(opened(backend).config.questions, cases, "auto")
    backend.work.projects.freeze_scoring(opened(backend).state, opened(backend).version, scoring.to_json())

    backend.predict(*tasks)

    again = {text for each in llm.history[before:] for text in each.texts}
    assert before == len(tasks)
    assert len(again) < before
    assert {text for text in (each["data"]["text"] for each in tasks) if text not in again} <= sure


def made_up(number: int, told: float, *, is_right: bool) -> EvidenceCase:
    guess = Guess(("shipping",), told, {"shipping": told, "refund": 1 - told, "other": 0.0})
    heard = Heard(weak=guess, llm=Vote(("shipping",), {STATED: 0.9}))
    return EvidenceCase(number, {"intent": heard}, {"intent": ("shipping" if is_right else "refund",)})


def unsure_of(text: str, asked: Asked) -> Verdict:
    """The LLM is unsure of some, and the stronger one gives another label to all."""
    if asked.model == "gpt-4o":
        return Verdict(("shipping",), 0.97)
    return Verdict(("refund",), 0.6 if "perhaps" in text else 0.95)


def test_a_stronger_model_is_asked_about_the_unsure_ones_alone(start: Start, llm: FakeLLM) -> None:
    backend = start(ESCALATION_MODEL="gpt-4o")
    llm.answer = unsure_of

    items = backend.predict(task(1, "a refund"), task(2, "perhaps a refund"), task(3, "refund, perhaps"))

    assert [labels_of(item) for item in items] == [REFUND, SHIPPING, SHIPPING]
    assert asked(llm) == ["a refund", "perhaps a refund", "refund, perhaps"]
    assert asked(llm, "gpt-4o") == ["perhaps a refund", "refund, perhaps"]
    assert stages(backend, 1, 2, 3) == ["llm", "escalation", "escalation"]


def test_where_the_llm_finds_no_label_the_stronger_model_is_asked(start: Start, llm: FakeLLM) -> None:
    backend = start(ESCALATION_MODEL="gpt-4o")
    llm.answer = lambda text, asked: Verdict(("shipping",) if asked.model == "gpt-4o" else (), 0.9)

    [item] = backend.predict(task(1, "hello"))

    assert (labels_of(item), stages(backend, 1)) == (SHIPPING, ["escalation"])


@pytest.mark.parametrize("method", ["llm", "ensemble", "rules", "weak_model"])
def test_a_stronger_model_is_for_auto_alone(start: Start, llm: FakeLLM, rules_file: str, method: str) -> None:
    backend = start(ESCALATION_MODEL="gpt-4o", LABELING_METHOD=method, RULES_FILE=rules_file)
    review_many(backend, 12)
    llm.answer = unsure_of

    backend.predict(task(1, "perhaps a refund"))

    assert asked(llm, "gpt-4o") == []


def test_a_stronger_model_that_is_not_there_leaves_the_first_answers_and_is_told(
    start: Start, llm: FakeLLM, caplog: pytest.LogCaptureFixture
) -> None:
    backend = start(ESCALATION_MODEL="gpt-6")
    llm.answer = unsure_of

    items = backend.predict(task(1, "a refund"), task(2, "perhaps a refund"))

    assert [(labels_of(item), round(item["score"], 2)) for item in items] == [(REFUND, 0.95), (REFUND, 0.6)]
    assert stages(backend, 1, 2) == ["llm", "llm"]
    assert "gpt-6 is not heard on 1 tickets, so the first answer stands" in caplog.text
    assert "perhaps" not in caplog.text
    assert llm.complaints == ["unknown model gpt-6"]


def test_a_stronger_model_that_is_down_leaves_the_first_answers(start: Start, llm: FakeLLM) -> None:
    backend = start(ESCALATION_MODEL="gpt-4o", LLM_MAX_RETRIES="0")

    def down(text: str, asked: Asked) -> Verdict:
        if asked.model == "gpt-4o":
            raise TimeoutError(text)
        return unsure_of(text, asked)

    llm.answer = down
    [item] = backend.predict(task(1, "perhaps a refund"))

    assert (labels_of(item), stages(backend, 1)) == (REFUND, ["llm"])


def test_a_stronger_model_that_takes_too_long_leaves_the_first_answers(start: Start, llm: FakeLLM) -> None:
    backend = start(ESCALATION_MODEL="gpt-4o", PREDICT_DEADLINE="2", LLM_MAX_RETRIES="0")
    release: list[float] = []

    def slow(text: str, asked: Asked) -> Verdict:
        if asked.model == "gpt-4o":
            release.append(1)
            time.sleep(4)
        return unsure_of(text, asked)

    llm.answer = slow
    items = backend.predict(task(1, "perhaps a refund"), task(2, "a refund"))

    assert release
    assert [labels_of(item) for item in items] == [REFUND, REFUND]
    assert stages(backend, 1, 2) == ["llm", "llm"]


def test_an_llm_that_is_down_fails_what_nobody_else_settles(start: Start, llm: FakeLLM) -> None:
    backend = start(ESCALATION_MODEL="gpt-4o", LLM_MAX_RETRIES="0")
    review(backend, {"my card": "refund"})
    llm.enqueue(Fault(503))

    items = backend.predict(task(1, "my card"), task(2, "my cart"))

    assert (labels_of(items[0]), items[1]) == (REFUND, {})
    assert asked(llm, "gpt-4o") == []


def test_several_answers_to_each_ticket_agree_or_do_not(start: Start, llm: FakeLLM) -> None:
    backend = start(NUM_RESPONSES="3", LABELING_METHOD="llm")
    given = iter(["refund", "shipping", "refund"])
    llm.answer = lambda text, asked: Verdict((next(given),), 0.9)

    [item] = backend.predict(task(1, "hello"))

    [found] = kept(backend, 1)
    assert (labels_of(item), len(llm.history)) == (REFUND, 3)
    assert {each.temperature for each in llm.history} == {0.7}
    assert found.grounds["intent"].signals[AGREEMENT] == pytest.approx(2 / 3, abs=0.002)


def test_the_stronger_model_is_asked_once_however_often_the_first_is(start: Start, llm: FakeLLM) -> None:
    backend = start(NUM_RESPONSES="3", ESCALATION_MODEL="gpt-4o")
    llm.answer = unsure_of

    [item] = backend.predict(task(1, "perhaps a refund"))

    assert (labels_of(item), len(asked(llm)), len(asked(llm, "gpt-4o"))) == (SHIPPING, 3, 1)


@pytest.mark.parametrize("method", METHODS)
def test_a_typed_prompt_asks_the_llm_whatever_the_method(
    start: Start, llm: FakeLLM, rules_file: str, method: str
) -> None:
    backend = start(LABELING_METHOD=method, RULES_FILE=rules_file, ESCALATION_MODEL="gpt-4o")
    review(backend, {"my money back": "refund"})
    freeze(backend, Learned(rules=proven(backend)))
    llm.answer = lambda text, asked: "shipping"

    item = backend.prompted("Be kind.", task(1, "my money back"))

    assert labels_of(item) == SHIPPING
    assert (asked(llm), asked(llm, "gpt-4o")) == (["my money back"], [])
    assert kept(backend, 1) == []


def test_without_an_llm_auto_takes_what_there_is(start: Start, llm: FakeLLM) -> None:
    backend = start(OPENAI_PROVIDER="local")
    review(backend, {"my card": "refund"})

    few = backend.predict(task(1, "my card"), task(2, "my parcel"))
    review_many(backend)
    many = backend.predict(task(3, "my card"), task(4, "where is the parcel of mine"))

    assert [labels_of(item) if item else item for item in few] == [REFUND, {}]
    assert [labels_of(item) for item in many] == [REFUND, SHIPPING]
    assert stages(backend, 1, 3, 4) == ["reviewed", "reviewed", "weak_model"]
    assert llm.history == []


def test_a_typed_prompt_without_an_llm_says_who_answers(start: Start) -> None:
    backend = start(OPENAI_PROVIDER="local")
    review_many(backend)

    item = backend.prompted("ALWAYS refund", task(1, "where is the parcel of mine"))

    [said] = [region["value"]["text"] for region in item["result"] if region["from_name"] == "response"]
    assert (labels_of(item), said) == (SHIPPING, [ABOUT])


def test_what_decides_an_answer_moves_the_version(start: Start, rules_file: str) -> None:
    said = [
        {},
        *({"LABELING_METHOD": method} for method in METHODS[1:]),
        {"ESCALATION_MODEL": "gpt-4o"},
        {"NUM_RESPONSES": "3"},
    ]

    versions = [start(RULES_FILE=rules_file, **settings).setup() for settings in said]

    assert len(set(versions)) == len(versions)
    assert start(LABELING_METHOD="auto", NUM_RESPONSES="1", ESCALATION_MODEL="").setup() == versions[0]


def test_the_method_of_a_project_is_its_own(start: Start, llm: FakeLLM, rules_file: str) -> None:
    backend = start(RULES_FILE=rules_file)
    version = backend.setup()
    backend.work.projects.set_settings(REF, {"LABELING_METHOD": "rules"})

    [item] = backend.predict(task(1, "my money back"))

    assert (labels_of(item), llm.history) == (REFUND, [])
    assert backend.setup() != version


@pytest.mark.parametrize("method", METHODS)
def test_a_withheld_task_is_answered_without_labels_or_score(
    start: Start, llm: FakeLLM, rules_file: str, method: str
) -> None:
    backend = start(LABELING_METHOD=method, RULES_FILE=rules_file)
    version = backend.setup()
    review(backend, {"my money back": "refund"})
    backend.work.projects.withhold(REF, [1])

    [item] = backend.predict(task(1, "my money back"))
    typed = backend.prompted("ALWAYS refund", task(1, "my money back"))

    assert item == {"result": [], "score": None, "model_version": version}
    assert labels_of(typed) == {}
    assert (llm.history, kept(backend, 1)) == ([], [])


def test_predictions_are_kept_with_what_speaks_for_them(backend: Backend, llm: FakeLLM) -> None:
    review_many(backend)
    llm.answer = lambda text, asked: Verdict(("refund",), 0.9, probability=0.8)

    [item] = backend.predict(task(1, "give me all my money back"))

    [found] = kept(backend, 1)
    signals = found.grounds["intent"].signals
    assert (found.labels, found.version) == ({"intent": ("refund",)}, item["model_version"])
    assert found.grounds["intent"].stage == "llm"
    assert set(signals) == {"logprob", "stated", "weak", "neighbors"}
    assert signals["logprob"] == pytest.approx(0.8, abs=0.01)
    assert signals["stated"] == pytest.approx(0.9, abs=0.01)
    assert item["score"] == found.score == pytest.approx(signals["logprob"], abs=0.0001)


def test_a_frozen_score_is_that_of_its_version_alone(backend: Backend, llm: FakeLLM) -> None:
    llm.answer = lambda text, asked: Verdict(("refund",), 0.9, probability=0.9)
    freeze(backend, Learned(taken_at_its_word("llm", "logprob", -2.0)))
    [calibrated] = backend.predict(task(1, "hello"))

    backend.work.projects.begin_generation(REF)
    [anew] = backend.predict(task(2, "hello again"))

    assert calibrated["score"] == pytest.approx(0.549, abs=0.01)
    assert anew["score"] == pytest.approx(0.9, abs=0.01)


def test_what_is_frozen_and_cannot_be_read_leaves_scores_as_they_are_without(
    backend: Backend, llm: FakeLLM, caplog: pytest.LogCaptureFixture
) -> None:
    llm.answer = lambda text, asked: Verdict(("refund",), 0.9, probability=0.9)
    backend.work.projects.freeze_scoring(opened(backend).state, opened(backend).version, '{"version": 99}')

    [item] = backend.predict(task(1, "hello"))

    assert item["score"] == pytest.approx(0.9, abs=0.01)
    assert "scores are not calibrated until there is a new generation" in caplog.text
