"""What docker-compose.yml asks of Label Studio's image, asked of a real Label Studio: its health, and a second user."""

import os
import subprocess
import sys

import requests

from tests.compose import REQUIRED, health_check, services
from tests.e2e.studio_api import StudioApi
from tests.servers import LabelStudio, label_studio_venv

STACK = services(REQUIRED)


def test_label_studio_says_that_it_is_well(label_studio: LabelStudio) -> None:
    python, *arguments = health_check(STACK["label-studio"])
    port = label_studio.url.rpartition(":")[2]
    assert python == "python3"
    assert "127.0.0.1:8080" in arguments[-1]

    for at, status in ((port, 0), ("1", 1)):
        asked = [*arguments[:-1], arguments[-1].replace("8080", at)]
        assert subprocess.run([sys.executable, *asked], capture_output=True, check=False).returncode == status


def test_the_backend_gets_a_user_of_its_own_once(label_studio: LabelStudio) -> None:
    service = STACK["label-studio-user"]
    program, *arguments = service["command"]
    data = str(label_studio.server.process.log.parent)
    env = {"PATH": os.environ["PATH"], "HOME": data, "LABEL_STUDIO_BASE_DATA_DIR": data, **service["environment"]}

    for _ in range(2):
        command = [str(label_studio_venv() / "bin" / program), *arguments]
        subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)

    backend, person = (
        StudioApi(label_studio.url, token) for token in (REQUIRED["LABEL_STUDIO_API_KEY"], label_studio.token)
    )
    try:
        own = backend.call("GET", "/api/current-user/whoami")
        assert own["email"] == "prelabel@example.com"
        assert own["active_organization"] == person.call("GET", "/api/current-user/whoami")["active_organization"]
    finally:
        backend.close()
        person.close()


def test_the_backends_user_has_no_password(label_studio: LabelStudio) -> None:
    with requests.Session() as browser:
        browser.trust_env = False
        browser.get(f"{label_studio.url}/user/login", timeout=10)
        form = {"email": "prelabel@example.com", "password": "", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        browser.post(f"{label_studio.url}/user/login", data=form, timeout=10)

        assert browser.get(f"{label_studio.url}/api/projects", timeout=10).status_code == 401
