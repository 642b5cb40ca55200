"""What bears on a ticket: terms that occur in it, snippets that fit it, as the files were edited last."""

import logging
import os
import threading
from pathlib import Path

import pytest

from prelabel.config import Settings
from prelabel.core.types import Note, Ticket
from prelabel.errors import SettingsError
from prelabel.guidance.fitting import MOST_PER_TICKET, Snippets
from prelabel.guidance.folder import LARGEST_FILE, MOST_ENTRIES, folder_state, read_snippets
from prelabel.guidance.notes import Guidance

GUIDELINE = """# Refunds
A customer who wants money back for a broken or unwanted product.
# Shipping
Where a parcel is, when it will arrive, tracking numbers that do not work.
# Account
Passwords, verification codes and locked accounts; changing the login e-mail.
# Invoices
Invoices with a wrong VAT number or company address.
# Lunch
The canteen is on the third floor and opens at noon.
"""


def texts(*names: str) -> list[Ticket]:
    return [Ticket(number, text) for number, text in enumerate(names)]


def settings(folder: Path, **more: str) -> Settings:
    """With the glossary, the guidelines and the rules of ``folder``, those of them that are there."""
    names = {"GLOSSARY_FILE": "terms.yaml", "CONTEXT_DIR": "guidelines", "RULES_FILE": "rules.yaml"}
    env = {setting: folder / name for setting, name in names.items()}
    return Settings.from_env({**{name: str(path) for name, path in env.items() if path.exists()}, **more})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the guidelines, which are written."""
    folder = tmp_path / "guidelines"
    folder.mkdir()
    (folder / "labels.md").write_text(GUIDELINE)
    return folder


def names_of(notes: list[Note]) -> list[str]:
    return [note.name for note in notes]


def test_without_files_nothing_is_known() -> None:
    assert Guidance().notes(Settings.from_env({}), texts("a", "b")) == [[], []]


def test_each_ticket_gets_its_own_terms_explained(tmp_path: Path) -> None:
    (tmp_path / "terms.yaml").write_text("RMA: Return number.\nPlus: {explanation: A plan., aliases: [플러스]}\n")

    found = Guidance().notes(settings(tmp_path), texts("my rma", "플러스를 RMA", "none of them"))

    rma, plus = Note("RMA", "Return number."), Note("Plus", "(or 플러스) A plan.")
    assert [set(notes) for notes in found] == [{rma}, {rma, plus}, set()]


def test_terms_are_looked_for_in_what_the_llm_reads(tmp_path: Path) -> None:
    (tmp_path / "terms.yaml").write_text("begin: x\nmiddle: x\nfinish: x\n")
    long = f"begin {'word ' * 5000} middle {'word ' * 5000} finish"

    [notes] = Guidance().notes(settings(tmp_path, LLM_MAX_INPUT_TOKENS="500"), texts(long))

    assert sorted(names_of(notes)) == ["begin", "finish"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("I want my money back for a broken product", ["labels.md: Refunds"]),
        ("the tracking number of my parcel does not work", ["labels.md: Shipping"]),
        ("Hello, good day to you.", []),
        ("ok", []),
        ("", []),
    ],
)
def test_only_snippets_that_fit_go_along(folder: Path, text: str, names: list[str]) -> None:
    [notes] = Guidance().notes(settings(folder.parent), texts(text))

    assert names_of(notes) == names


def test_terms_come_before_snippets(folder: Path) -> None:
    (folder.parent / "terms.yaml").write_text("tracking: a link\n")

    [notes] = Guidance().notes(settings(folder.parent), texts("the tracking number of my parcel does not work"))

    assert names_of(notes) == ["tracking", "labels.md: Shipping"]


def test_a_ticket_gets_only_a_few_snippets() -> None:
    alike = [Note(f"{number}", f"money back for broken product {number}") for number in range(20)]
    other = [Note(f"x{number}", f"{'qwertzuiop'[number % 10]}{number} vxyz") for number in range(200)]

    [notes] = Snippets([*alike, *other]).fitting(["money back for a broken product"])

    assert len(notes) == MOST_PER_TICKET
    assert {note.text[:10] for note in notes} == {"money back"}


def test_of_few_snippets_the_alike_ones_fit() -> None:
    refunds, lunch = Note("a", "money back for a broken product"), Note("b", "the canteen opens at noon")

    assert Snippets([refunds, lunch]).fitting(["I want my money back"]) == [[refunds]]
    assert Snippets([]).fitting(["a", "b"]) == [[], []]


def test_guidelines_are_markdown_and_text_in_folders_of_folders(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    for name in ("a/b/one.md", "two.TXT", "three.pdf", ".hidden.md", ".git/four.md"):
        (tmp_path / name).write_text("# Heading\n\ntext")

    assert read_snippets(tmp_path) == [Note("two.TXT", "# Heading\n\ntext"), Note("a/b/one.md: Heading", "text")]


def test_what_is_odd_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, outside = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (folder / "good.txt").write_text("good")
    (folder / "inner.txt").symlink_to(folder / "good.txt")
    (folder / "link.txt").symlink_to(outside / "secret.txt")
    (folder / "lost.txt").symlink_to(outside / "nothing.txt")
    (folder / "linked").symlink_to(outside)
    (folder / "large.txt").write_text("x" * (LARGEST_FILE + 1))
    (folder / "latin.txt").write_bytes("für".encode("cp1252"))
    os.mkfifo(folder / "pipe.txt")

    assert read_snippets(folder) == [Note("good.txt", "good"), Note("inner.txt", "good")]
    assert {tuple(record.getMessage().split("/")[-1].split(" is left out: ")) for record in caplog.records} == {
        ("link.txt", "it is a link out of the folder"),
        ("linked", "it is a link to a folder"),
        ("large.txt", "it is larger than 1,000,000 bytes"),
        ("latin.txt", "it is not UTF-8"),
    }


def test_a_folder_with_far_too_much_in_it_is_refused(tmp_path: Path) -> None:
    for number in range(MOST_ENTRIES + 1):
        (tmp_path / f"{number}").touch()

    with pytest.raises(SettingsError, match=r"^CONTEXT_DIR=.* holds more than 2,000 files: give the guidelines"):
        read_snippets(tmp_path)
    assert "more than 2,000" in str(folder_state(tmp_path))


def test_edits_count_at_once(folder: Path) -> None:
    glossary, guidance = folder.parent / "terms.yaml", Guidance()
    glossary.write_text("RMA: Old.\n")
    asked = texts("RMA: the tracking number of my parcel does not work")

    before = guidance.notes(settings(folder.parent), asked)
    glossary.write_text("RMA: Newer.\n")
    (folder / "labels.md").rename(folder / "renamed.md")
    after = guidance.notes(settings(folder.parent), asked)

    assert before[0][0] == Note("RMA", "Old.")
    assert [(note.name, note.text[:6]) for note in after[0]] == [
        ("RMA", "Newer."),
        ("renamed.md: Shipping", "Where "),
    ]


def test_a_file_that_was_broken_by_an_edit_serves_on_as_it_was_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    glossary, guidance = tmp_path / "terms.yaml", Guidance()
    glossary.write_text("RMA: Number.\n")
    own, asked = settings(tmp_path), texts("RMA")
    before = guidance.notes(own, asked)

    glossary.write_text("RMA:\n")
    broken = [guidance.notes(own, asked) for _ in range(3)]
    glossary.unlink()
    gone = guidance.notes(own, asked)

    assert [*broken, gone] == [before] * 4
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "line 1: 'RMA' has no explanation; what was read of it before serves on" in caplog.messages[0]


def test_a_file_that_was_never_right_is_an_error_until_it_is(tmp_path: Path) -> None:
    glossary, guidance = tmp_path / "terms.yaml", Guidance()
    glossary.write_text("RMA:\n")
    own = settings(tmp_path)

    for _ in range(2):
        with pytest.raises(SettingsError, match="line 1: 'RMA' has no explanation"):
            guidance.check(own)
    glossary.write_text("RMA: Number.\n")

    assert guidance.notes(own, texts("rma")) == [[Note("RMA", "Number.")]]


def test_threads_share_what_is_kept(folder: Path) -> None:
    guidance, own = Guidance(), settings(folder.parent)
    found: list[list[str]] = []

    def ask() -> None:
        [notes] = guidance.notes(own, texts("the tracking number of my parcel does not work"))
        found.append(names_of(notes))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [["labels.md: Shipping"]] * 8
