"""The doctor on a real Label Studio: it says that all is well, and names what is broken there."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e.backend import Backend
from tests.e2e.studio_api import StudioApi
from tests.e2e.waiting import until
from tests.servers import REPOSITORY, LabelStudio

pytestmark = pytest.mark.usefixtures("llm")  # which answers again as usual, whatever tests before ordered

CONFIG = """<View>
  <Text name="text" value="$text"/>
  <Choices name="intent" toName="text"><Choice value="Refund"/><Choice value="Other"/></Choices>
</View>"""


def doctor(backend: Backend, project: int, **env: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit status and findings by check, without those that are ok.

    :param env: settings other than the backend's.
    """
    done = subprocess.run(
        [sys.executable, "-m", "prelabel", "doctor", "--json", "--project", str(project)],
        env={"PATH": os.environ["PATH"], **backend.env, **env},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not done.stderr, done.stderr
    findings: list[dict[str, str]] = json.loads(done.stdout)
    expected = {"redis memory", "own address"}  # the tests' Redis keeps nothing, and they may run in a container
    return done.returncode, {
        each["check"]: each for each in findings if each["state"] != "ok" and each["check"] not in expected
    }


@pytest.fixture
def project(studio: StudioApi, backend: Backend) -> int:
    number = studio.create_project("Doctor", CONFIG)
    backend.connect(number)
    return number


def webhook_of(studio: StudioApi, project: int) -> dict[str, Any]:
    (webhook,) = studio.call("GET", "/api/webhooks/", params={"project": project})
    return dict(webhook)


def test_on_a_connected_project_all_is_well(backend: Backend, project: int) -> None:
    assert doctor(backend, project) == (0, {})


def test_a_webhook_that_lost_its_secret_is_named_and_connecting_cures_it(
    backend: Backend, studio: StudioApi, project: int
) -> None:
    webhook = webhook_of(studio, project)
    studio.call("PATCH", f"/api/webhooks/{webhook['id']}/", json={"url": webhook["url"], "headers": {}})

    status, ill = doctor(backend, project)
    backend.connect(project)

    assert (status, set(ill)) == (1, {f"project {project} webhook"})
    assert ill[f"project {project} webhook"]["cure"] == f"python -m prelabel connect --project {project}"
    assert doctor(backend, project) == (0, {})


def test_an_ml_backend_whose_webhook_is_gone_is_named(backend: Backend, studio: StudioApi, project: int) -> None:
    studio.call("DELETE", f"/api/webhooks/{webhook_of(studio, project)['id']}/")

    status, ill = doctor(backend, project)

    assert (status, set(ill)) == (1, {f"project {project} webhook"})
    assert "SSRF_PROTECTION_ENABLED=false" in ill[f"project {project} webhook"]["cure"]


def test_a_project_that_label_studio_deleted_is_named_and_forgetting_cures_it(
    backend: Backend, studio: StudioApi, project: int
) -> None:
    studio.call("DELETE", f"/api/projects/{project}")

    status, ill = doctor(backend, project)

    assert (status, set(ill)) == (1, {f"project {project}"})
    assert ill[f"project {project}"]["cure"] == f"python -m prelabel forget --project {project}"


def test_addresses_and_tokens_that_are_wrong_are_named(
    backend: Backend, label_studio: LabelStudio, project: int
) -> None:
    broken = {
        "a page's address": {"LABEL_STUDIO_URL": f"{label_studio.url}/projects/{project}/data"},
        "https": {"LABEL_STUDIO_URL": label_studio.url.replace("http:", "https:")},
        "unknown": {"LABEL_STUDIO_API_KEY": "f" * 40},
        "with a word": {"LABEL_STUDIO_API_KEY": f"Token {label_studio.token}"},
    }

    told = {
        name: {check: found["message"] for check, found in doctor(backend, project, **env)[1].items()}
        for name, env in broken.items()
    }

    assert "is not Label Studio's API (404" in told["a page's address"]["label studio"]
    assert "asks for TLS of a server that does not speak it" in told["https"]["label studio"]
    assert "Invalid token." in told["unknown"]["token"]
    assert "should not contain spaces" in told["with a word"]["token"]


def test_the_kind_of_a_token_is_named(
    backend: Backend, label_studio: LabelStudio, studio: StudioApi, project: int, personal_token: str
) -> None:
    legacy = doctor(backend, project)[1]
    personal = doctor(backend, project, LABEL_STUDIO_API_KEY=personal_token)[1]

    assert "legacy token authentication has been disabled" in legacy["token"]["message"]
    assert "token" not in personal


def test_a_shell_with_other_settings_is_warned_and_what_it_connects_the_backend_puts_right(
    backend: Backend, project: int
) -> None:
    def named() -> set[str]:
        return set(doctor(backend, project, OPENAI_MODEL="gpt-4o")[1])

    until(lambda: named() == {f"project {project} settings"})  # once /ready has forgotten what other tests had broken
    connection = json.loads(backend.run("connect", "--project", str(project), "--json", OPENAI_MODEL="gpt-4o"))

    (warning,) = connection["warnings"]
    assert "this shell's settings are not the backend's" in warning
    assert "set OPENAI_MODEL here as the backend has it" in warning
    until(lambda: doctor(backend, project) == (0, {}))
