"""A real Label Studio, prelabel as deployed, and a browser: started once, each test with a project of its own."""

from collections.abc import Generator, Iterator

import pytest
import requests

from tests.e2e.backend import Backend, running_backend
from tests.e2e.browser import LabelingInterface, open_page
from tests.e2e.runs_api import RunsApi
from tests.e2e.studio_api import StudioApi
from tests.fakes.llm_server import FakeLLM
from tests.servers import LabelStudio, Running, label_studio


@pytest.fixture(scope="session", name="label_studio")
def running_label_studio() -> Iterator[LabelStudio]:
    with label_studio() as studio:
        yield studio


@pytest.fixture(scope="session")
def backend(label_studio: LabelStudio, llm_server: FakeLLM) -> Iterator[Backend]:
    with running_backend(label_studio, llm_server.url) as backend:
        yield backend


@pytest.fixture(scope="session")
def studio(label_studio: LabelStudio) -> Iterator[StudioApi]:
    api = StudioApi(label_studio.url, label_studio.token)
    yield api
    api.close()


@pytest.fixture
def runs(backend: Backend) -> Iterator[RunsApi]:
    api = RunsApi(backend)
    yield api
    api.close()


@pytest.fixture
def personal_token(studio: StudioApi, label_studio: LabelStudio) -> Iterator[str]:
    """A personal access token, while legacy tokens are disabled as they are by default; ask for it last."""
    allowed = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True}
    token = str(studio.call("POST", "/api/token/")["token"])
    studio.call("POST", "/api/jwt/settings", json={**allowed, "legacy_api_tokens_enabled": False})
    yield token
    with requests.Session() as session:
        refreshed = session.post(f"{label_studio.url}/api/token/refresh/", json={"refresh": token}, timeout=30).json()
        session.headers["Authorization"] = f"Bearer {refreshed['access']}"
        session.post(f"{label_studio.url}/api/jwt/settings", json=allowed, timeout=30).raise_for_status()
    studio.call("POST", "/api/token/blacklist/", json={"refresh": token})


@pytest.fixture
def interface(label_studio: LabelStudio) -> Iterator[LabelingInterface]:
    """The labeling interface in a browser of its own, logged in."""
    with open_page() as page:
        interface = LabelingInterface(page, label_studio.url)
        interface.log_in(label_studio.user, label_studio.password)
        yield interface


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the end of the servers' logs, and leaves a picture of the browser."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        report.sections += [(f"log of {name}", server.log_tail()) for name, server in _servers(item).items()]
        if isinstance(interface := item.funcargs.get("interface"), LabelingInterface):
            interface.screenshot(f"failed-{item.name}")
    return report


def _servers(item: pytest.Function) -> dict[str, Running]:
    servers = {}
    if isinstance(studio := item.funcargs.get("label_studio"), LabelStudio):
        servers["Label Studio"] = studio.server
    if isinstance(backend := item.funcargs.get("backend"), Backend):
        servers |= {"prelabel serve": backend.server, "prelabel worker": backend.worker}
    return servers
