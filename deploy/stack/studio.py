"""What making the sample asks of Label Studio's API, and the tabs in which its tasks are shown.

prelabel's own client neither creates projects nor imports tasks, since prelabel never does.
"""

from collections.abc import Sequence
from typing import Any

import httpx

from deploy.stack.processes import StackError
from deploy.stack.servers import Settings

Json = dict[str, Any]

TABS: tuple[Json, ...] = (
    {
        "title": "To review",
        "filters": {
            "conjunction": "and",
            "items": [{"filter": "filter:tasks:total_annotations", "operator": "equal", "value": 0, "type": "Number"}],
        },
        "ordering": ["tasks:predictions_score"],
    },
    {"title": "All", "filters": {"conjunction": "and", "items": []}, "ordering": ["tasks:id"]},
)
HIDDEN = [
    "tasks:inner_id",
    "tasks:completed_at",
    "tasks:cancelled_annotations",
    "tasks:total_predictions",
    "tasks:annotators",
    "tasks:annotations_results",
    "tasks:annotations_ids",
    "tasks:predictions_model_versions",
    "tasks:predictions_results",
    "tasks:file_upload",
    "tasks:storage_filename",
    "tasks:created_at",
    "tasks:updated_at",
    "tasks:updated_by",
    "tasks:avg_lead_time",
    "tasks:draft_exists",
]
"""Columns of the Data Manager that a newcomer does not miss; by default it hides the scores instead."""
WIDE = {f"tasks:data.{name}": 600 for name in ("text", "dialogue")}


class Studio:
    """Label Studio as the person who logs in sees it; whatever goes wrong is a ``StackError``."""

    def __init__(self, settings: Settings) -> None:
        self._http = httpx.Client(
            base_url=settings["LABEL_STUDIO_URL"],
            headers={"Authorization": f"Token {settings['LABEL_STUDIO_USER_TOKEN']}"},
            timeout=120,
            trust_env=False,
        )

    def project_titled(self, title: str) -> Json | None:
        found = self._call("GET", "/api/projects", params={"page_size": 1000})["results"]
        return next((project for project in found if project["title"] == title), None)

    def exists(self, project: int) -> bool:
        return self._ask("GET", f"/api/projects/{project}").status_code != httpx.codes.NOT_FOUND

    def create_project(self, title: str, label_config: str) -> Json:
        return dict(self._call("POST", "/api/projects", json={"title": title, "label_config": label_config}))

    def tab_titles(self, project: int) -> set[str]:
        """Of the Data Manager's tabs that are there already."""
        return {tab["data"].get("title", "") for tab in self._call("GET", "/api/dm/views", params={"project": project})}

    def create_tab(self, project: int, tab: Json) -> None:
        """A tab of the Data Manager; a project that has one gets no other by default."""
        hidden = {"explore": HIDDEN, "labeling": [*HIDDEN, "tasks:id", "tasks:total_annotations", "tasks:data.channel"]}
        data = {"type": "list", "target": "tasks", "hiddenColumns": hidden, "columnsWidth": WIDE, **tab}
        self._call("POST", "/api/dm/views/", json={"project": project, "data": data})

    def import_tasks(self, project: int, tasks: Sequence[Json]) -> None:
        self._call("POST", f"/api/projects/{project}/import", json=list(tasks))

    def _call(self, method: str, path: str, **more: Any) -> Any:
        response = self._ask(method, path, **more)
        if not response.is_success:
            raise StackError(f"Label Studio refused {method} {path} ({response.status_code}): {response.text[:300]}")
        return response.json()

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise StackError(f"Label Studio did not answer {method} {path}: {error}") from error
