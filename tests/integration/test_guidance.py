"""Terms and guidelines, from their files to what the LLM is sent beside a ticket."""

from pathlib import Path

import pytest

from prelabel.bootstrap import build
from prelabel.config import Settings
from prelabel.doctor.configured import check_settings
from prelabel.errors import SettingsError
from prelabel.store.keys import ProjectRef
from tests.fakes.llm_server import FakeLLM
from tests.integration.conftest import PROJECT, TICKETS, Backend, Start, labels_of, task


@pytest.fixture
def glossary(tmp_path: Path) -> Path:
    file = tmp_path / "terms.csv"
    file.write_text("term,explanation,aliases\nRMA,Return number.,\n退款,Money back.,返金\n")
    return file


def test_a_term_goes_with_the_tickets_that_hold_it_and_with_no_other(
    start: Start, llm: FakeLLM, glossary: Path
) -> None:
    backend = start(GLOSSARY_FILE=str(glossary), LLM_TASKS_PER_REQUEST="1")

    items = backend.predict(task(1, "refund with rma"), task(2, "shipping"), task(3, "我要退款 refund"))

    assert {asked.texts[0]: asked.notes for asked in llm.history} == {
        "refund with rma": (("RMA", "Return number."),),
        "shipping": (),
        "我要退款 refund": (("退款", "(or 返金) Money back."),),
    }
    assert [labels_of(item)["intent"] for item in items] == [["refund"], ["shipping"], ["refund"]]
    assert llm.complaints == []


def test_tickets_of_one_request_share_their_notes_each_once(start: Start, llm: FakeLLM, glossary: Path) -> None:
    start(GLOSSARY_FILE=str(glossary)).predict(task(1, "RMA refund"), task(2, "rma 退款"), task(3, "shipping"))

    assert [sorted(asked.notes) for asked in llm.history] == [
        [("RMA", "Return number."), ("退款", "(or 返金) Money back.")]
    ]


def test_guidelines_that_fit_go_along_and_an_edit_counts_at_once(start: Start, llm: FakeLLM, tmp_path: Path) -> None:
    guideline = tmp_path / "labels.md"
    guideline.write_text("# Refunds\nMoney back for a broken product.\n# Shipping\nWhere a parcel is.\n")
    backend = start(CONTEXT_DIR=str(tmp_path), LLM_TASKS_PER_REQUEST="1")
    version = backend.setup()

    backend.predict(task(1, "refund: money back for my broken lamp"), task(2, "hm, other"))
    guideline.write_text("# Refunds\nMoney back for a broken product, but not for lamps.\n")
    backend.predict(task(3, "refund: money back for my broken lamp"))

    first, second, third = sorted(llm.history, key=lambda asked: (len(asked.texts[0]) < 10, llm.history.index(asked)))
    assert first.notes == (("labels.md: Refunds", "Money back for a broken product."),)
    assert second.notes == (("labels.md: Refunds", "Money back for a broken product, but not for lamps."),)
    assert third.notes == ()
    assert backend.setup() == version


def test_a_project_may_have_files_of_its_own(backend: Backend, llm: FakeLLM, glossary: Path) -> None:
    projects = backend.work.projects
    projects.set_settings(projects.resolve(ProjectRef.parse(PROJECT)), {"GLOSSARY_FILE": str(glossary)})

    backend.predict(task(1, "RMA refund"))
    backend.predict(task(1, "RMA refund"), project="8.1795235920")

    assert [asked.notes for asked in llm.history] == [(("RMA", "Return number."),), ()]


def test_a_typed_prompt_is_answered_with_notes_as_well(start: Start, llm: FakeLLM, glossary: Path) -> None:
    start(GLOSSARY_FILE=str(glossary)).prompted("ALWAYS other", task(1, "an RMA"), TICKETS)

    assert llm.history[0].notes == (("RMA", "Return number."),)


def test_nothing_starts_with_a_glossary_that_cannot_be_used(start: Start, glossary: Path) -> None:
    glossary.write_text("term,explanation\nRMA,\n")

    with pytest.raises(SettingsError, match=r"^GLOSSARY_FILE=.*, line 2: 'RMA' has no explanation$"):
        build(Settings.from_env({"GLOSSARY_FILE": str(glossary)}))
    [finding] = check_settings({"GLOSSARY_FILE": str(glossary)})
    assert (finding.state, "line 2: 'RMA' has no explanation" in finding.message) == ("failed", True)


def test_nothing_starts_with_rules_that_cannot_be_used(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("money: {keywords: refund}\n")

    with pytest.raises(SettingsError, match=r"^RULES_FILE=.*, line 1: 'money' has no label$"):
        build(Settings.from_env({"RULES_FILE": str(rules)}))
    [finding] = check_settings({"RULES_FILE": str(rules)})
    assert (finding.state, "line 1: 'money' has no label" in finding.message) == ("failed", True)


def test_a_projects_glossary_that_cannot_be_used_is_told_and_nothing_is_asked(
    backend: Backend, llm: FakeLLM, glossary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    glossary.write_text("term,explanation\nRMA,\n")
    projects = backend.work.projects
    projects.set_settings(projects.resolve(ProjectRef.parse(PROJECT)), {"GLOSSARY_FILE": str(glossary)})

    items = backend.predict(task(1, "refund"), task(2, "RMA"))

    assert items == [{}, {}]
    assert "line 2: 'RMA' has no explanation" in caplog.text
    assert llm.history == []


def test_notes_leave_room_for_tickets(start: Start, llm: FakeLLM, tmp_path: Path) -> None:
    """At most a quarter of it is theirs."""
    names = [f"term{number}" for number in range(50)]
    (tmp_path / "terms.yaml").write_text("".join(f"{name}: {'word ' * 40}\n" for name in names))
    backend = start(GLOSSARY_FILE=str(tmp_path / "terms.yaml"), LLM_MAX_INPUT_TOKENS="2000")

    backend.predict(task(1, f"refund {' '.join(names)}"))

    assert 0 < len(llm.history[0].notes) < 10
    assert llm.complaints == []
