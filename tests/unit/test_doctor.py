"""The doctor's pure parts: what it makes of addresses, tokens, file systems and numbers."""

from pathlib import Path

import pytest

from prelabel.address import Trouble, is_loopback, without_login
from prelabel.config import Settings
from prelabel.doctor.configured import check_listening
from prelabel.doctor.container import is_container
from prelabel.doctor.cures import Place, unreachable
from prelabel.doctor.findings import Finding, are, failed, ok, skipped, summary, warning
from prelabel.studio.tokens import kind_of
from tests.fakes.studio_server import jwt

LOCAL = Place("an LLM", "OPENAI_BASE_URL", "http://localhost:11434/v1", "ollama serve", "ollama")


@pytest.mark.parametrize(
    ("names", "told"),
    [(["PORT"], "PORT is"), (["HOST", "PORT"], "HOST and PORT are"), (["A", "B", "C"], "A, B and C are")],
)
def test_one_is_and_several_are(names: list[str], told: str) -> None:
    assert are(names) == told


def test_the_summary_counts_what_there_is() -> None:
    findings = [ok("a", ""), ok("b", ""), warning("c", "", ""), failed("d", "", ""), skipped("e", "")]

    assert summary(findings) == "5 checks: 2 ok, 1 warning, 1 failed, 1 skipped"
    assert summary([ok("a", ""), *[warning("b", "", "")] * 2]) == "3 checks: 1 ok, 2 warnings"


@pytest.mark.parametrize("trouble", Trouble)
def test_every_trouble_has_its_words_and_its_cure(trouble: Trouble) -> None:
    message, cure = unreachable(LOCAL, trouble, in_container=False)

    assert "localhost" in message
    assert cure


def test_in_a_container_localhost_is_the_container_and_another_host_is_not() -> None:
    inside = unreachable(LOCAL, Trouble.REFUSED, in_container=True)
    other = Place("an LLM", "OPENAI_BASE_URL", "http://gpu:11434/v1", "", "ollama")

    assert inside == (
        "nothing listens at http://localhost:11434/v1; this is a container, whose localhost is the container itself",
        "set OPENAI_BASE_URL to http://host.docker.internal:11434/v1 if it runs on the machine itself, "
        "or to http://ollama:11434/v1 if it is another container, by that one's name",
    )
    assert unreachable(other, Trouble.REFUSED, in_container=True) == (
        "nothing listens at http://gpu:11434/v1",
        "start it, or set OPENAI_BASE_URL to where it is",
    )


def test_a_password_in_an_address_is_not_shown() -> None:
    place = Place("Redis", "REDIS_URL", "redis://user:secret@db:6379/0", "", "redis")

    told = [unreachable(place, trouble, in_container=inside) for trouble in Trouble for inside in (True, False)]

    assert without_login(place.url) == "redis://db:6379/0"
    assert "secret" not in str(told)


@pytest.mark.parametrize(
    ("url", "is_own"),
    [
        ("http://localhost:9090", True),
        ("http://127.0.1.1", True),
        ("redis://[::1]:6379", True),
        ("http://10.0.0.1", False),
        ("http://backend:9090", False),
    ],
)
def test_an_address_of_the_machine_itself_is_known(url: str, is_own: bool) -> None:
    assert is_loopback(url) == is_own


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("0123456789abcdef0123456789abcdef01234567", "legacy token"),
        (jwt("refresh"), "personal access token"),
        (jwt("access"), "access token"),
        ("no.token.this", "legacy token"),
        ("a.WzFd.b", "legacy token"),
    ],
)
def test_the_kind_of_a_token_is_read_from_itself(key: str, kind: str) -> None:
    assert kind_of(key) == kind


@pytest.mark.parametrize(
    ("env", "warned"),
    [
        ({}, False),
        ({"LABEL_STUDIO_URL": "http://localhost:8080"}, False),
        ({"LABEL_STUDIO_URL": "http://label-studio:8080"}, True),
        ({"LABEL_STUDIO_URL": "http://label-studio:8080", "PRELABEL_URL": "http://127.0.0.1:9090"}, True),
        ({"LABEL_STUDIO_URL": "http://label-studio:8080", "PRELABEL_URL": "http://backend:9090"}, False),
    ],
)
def test_label_studio_elsewhere_needs_an_address_that_is_not_localhost(env: dict[str, str], warned: bool) -> None:
    findings = list(check_listening(Settings.from_env(env)))

    assert [finding.check for finding in findings] == ["listening", *["own address"] * warned]
    assert findings[0] == Finding("listening", "ok", "127.0.0.1:9090, without a password")


@pytest.mark.parametrize(
    ("file", "text"),
    [(".dockerenv", ""), ("run/.containerenv", ""), ("proc/1/cgroup", "0::/kubepods.slice/pod1\n")],
)
def test_a_container_is_known_by_what_it_leaves(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / "machine/proc/1").mkdir(parents=True)
    (tmp_path / "machine/proc/1/cgroup").write_text("0::/init.scope\n")
    mark = tmp_path / "container" / file
    mark.parent.mkdir(parents=True)
    mark.write_text(text)

    assert (is_container(tmp_path / "container"), is_container(tmp_path / "machine")) == (True, False)
    assert not is_container(tmp_path / "nowhere")
