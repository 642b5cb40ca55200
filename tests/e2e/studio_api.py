"""What the end-to-end tests ask of Label Studio's API: a thin layer that keeps its words and its JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import requests

Json = dict[str, Any]


class StudioApi:
    """Label Studio as its administrator sees it; any answer but 2xx is a ``requests.HTTPError``."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy would not know this machine's loopback
        self._session.headers["Authorization"] = f"Token {token}"

    def close(self) -> None:
        self._session.close()

    def call(self, method: str, path: str, **more: Any) -> Any:
        """:param more: as ``requests`` takes it, such as ``json`` and ``params``."""
        response = self._session.request(method, f"{self._url}{path}", timeout=120, **more)
        response.raise_for_status()
        return response.json() if response.content else None

    def create_project(self, title: str, label_config: str, **settings: Any) -> int:
        """:param title: at least three characters, as Label Studio wants it."""
        body = {"title": title, "label_config": label_config, **settings}
        return int(self.call("POST", "/api/projects", json=body)["id"])

    def project(self, project: int) -> Json:
        return dict(self.call("GET", f"/api/projects/{project}"))

    def import_tasks(self, project: int, data: Sequence[Mapping[str, Any]]) -> list[int]:
        """The new tasks' ids, in the order given."""
        path = f"/api/projects/{project}/import"
        return list(self.call("POST", path, params={"return_task_ids": "true"}, json=list(data))["task_ids"])

    def ml_backends(self, project: int) -> list[Json]:
        return list(self.call("GET", "/api/ml", params={"project": project}))

    def open_task(self, project: int, task: int) -> Json:
        """As the quick view does, which asks the ML backend if the task has no prediction yet."""
        return dict(self.call("GET", f"/api/tasks/{task}", params={"project": project}))

    def tasks(self, project: int, *filters: Mapping[str, Any]) -> list[Json]:
        """The Data Manager's list, all in one page.

        :param filters: as the Data Manager writes them, joined by "and".
        """
        query = {"filters": {"conjunction": "and", "items": filters}}
        body = {"project": project, "page_size": 1000, "fields": "all", "query": query}
        view = self.call("POST", "/api/dm/views", json={"project": project, "data": query})
        del body["query"]
        return list(self.call("GET", "/api/tasks", params={**body, "view": view["id"]})["tasks"])

    def predictions(self, project: int) -> list[Json]:
        return list(self.call("GET", "/api/predictions", params={"project": project}))

    def act(self, project: int, action: str, tasks: Sequence[int] | None = None) -> Json:
        """A Data Manager action, such as ``retrieve_tasks_predictions``, on some tasks or on all."""
        selected = {"all": True, "excluded": []} if tasks is None else {"all": False, "included": list(tasks)}
        params = {"id": action, "project": project}
        return dict(self.call("POST", "/api/dm/actions", params=params, json={"selectedItems": selected}))

    def next_task(self, project: int) -> Json:
        """The label stream's next task, for which Label Studio asks the ML backend."""
        return dict(self.call("GET", f"/api/projects/{project}/next"))

    def annotations(self, task: int) -> list[Json]:
        return list(self.call("GET", f"/api/tasks/{task}/annotations"))

    def annotate(self, task: int, result: Sequence[Mapping[str, Any]]) -> Json:
        return dict(self.call("POST", f"/api/tasks/{task}/annotations", json={"result": list(result)}))
