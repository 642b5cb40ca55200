"""The backend's endpoints for bulk runs, and what Label Studio has of a run."""

from collections import Counter
from typing import Any

import requests

from tests.e2e.backend import Backend
from tests.e2e.studio_api import StudioApi
from tests.e2e.waiting import until

CONFIG = """
<View><Text name="text" value="$text"/>
<Choices name="intent" toName="text"><Choice value="Refund"/><Choice value="Shipping"/><Choice value="Other"/></Choices>
</View>
"""
TASKS = 300
"""Of a test's project."""


class RunsApi:
    """The backend's own endpoints."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._session = requests.Session()
        self._session.trust_env = False

    def call(self, method: str, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
        reply = self._session.request(
            method, f"{self._backend.url}{path}", json=body or None, auth=self._backend.auth, timeout=30
        )
        assert reply.status_code == status, reply.text
        found: dict[str, Any] = reply.json()
        return found

    def start(self, project: int, **options: Any) -> str:
        return str(self.call("POST", "/runs", 202, project=project, **options)["id"])

    def ended(self, run: str) -> dict[str, Any]:
        """The run, once it is over."""
        return until(lambda: (found := self.call("GET", f"/runs/{run}"))["finished_at"] and found, within_s=180)

    def close(self) -> None:
        self._session.close()


def predictions_per_task(studio: StudioApi, project: int) -> Counter[int]:
    """How many tasks have how many predictions of the project's version."""
    version = studio.project(project)["model_version"]
    per_task = Counter(row["task"] for row in studio.predictions(project) if row["model_version"] == version)
    return Counter(per_task.values())
