"""The one place that talks to Label Studio over the network, through its official SDK.

The SDK (label-studio-sdk 2.1) is imported at the first call, never with this module: it costs 1 s and 185 MB with its
pandas (measured), for which a process that only answers ``/predict`` has no use. Whatever goes wrong leaves as a
``StudioError`` that says what to do (``refusals``). What is said here about Label Studio was seen on the wire of
1.23.2. Read ``connect`` next, which sets a project up with it.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from prelabel.errors import StudioError
from prelabel.studio.refusals import translated
from prelabel.studio.rows import (
    BasicAuth,
    MLBackend,
    StudioProject,
    TaskPage,
    TaskPrediction,
    Webhook,
    given,
    listed,
)

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

TASKS_PER_PAGE = 200
IDS_PER_PAGE = 1000
LISTED_FIELDS = ",".join(
    [
        *("id", "data", "annotations", "predictions"),
        *("result", "was_cancelled", "ground_truth", "completed_by", "updated_by", "parent_prediction"),
        *("parent_annotation", "created_at", "updated_at", "lead_time", "last_action"),
    ]
)
"""``include=`` of a task listing: it names the task's fields and, all the same, those of the annotations within."""


class StudioClient:
    """Label Studio, as one user sees it; safe to share between threads, and across a fork until its first call.

    Nothing is retried but the pages of a listing: a second POST would make a second row.

    :param url: where Label Studio is, with or without a trailing slash, under a path or not.
    :param api_key: a legacy token, or a personal access token, which the SDK exchanges every five minutes.
    """

    def __init__(self, url: str, api_key: str, timeout_s: float = 30) -> None:
        self.url = url.rstrip("/")
        self._api_key = api_key
        self._timeout_s = timeout_s

    @cached_property
    def _sdk(self) -> "LabelStudio":
        import httpx
        from label_studio_sdk import LabelStudio

        # A redirect is refused, not followed: it would turn a POST into a GET. No connection is kept: one gone stale
        # would fail a POST, and nothing has to be closed. The slash keeps a path in the URL when a token is refreshed.
        http = httpx.Client(timeout=self._timeout_s, limits=httpx.Limits(max_keepalive_connections=0))
        return LabelStudio(  # type: ignore[no-untyped-call]
            base_url=self.url + "/", api_key=self._api_key, httpx_client=http, max_retries=0
        )

    def whoami(self) -> int:
        """The id of the token's user: what it annotates is the backend's own work, not a person's."""
        with self._asking("say whose token this is") as studio:
            return int(given("id", studio.users.whoami().id))

    def version(self) -> str:
        """Label Studio's release, such as ``1.23.2``."""
        with self._asking("tell its version") as studio:
            return str(given("release", studio.versions.get().release))

    def ping(self) -> None:
        """:raises StudioError: Label Studio does not answer, or not to this token."""
        self.whoami()

    def project(self, project_id: int) -> StudioProject:
        with self._asking(f"show project {project_id}") as studio:
            return StudioProject.of(studio.projects.get(project_id))

    def set_project_version(self, project_id: int, version: str) -> None:
        """Make ``version`` the one whose scores are shown: an ML backend's title or a prediction's version."""
        with self._asking(f"set the version of project {project_id} to {version!r}") as studio:
            studio.projects.update(project_id, model_version=version)

    def ml_backends(self, project_id: int) -> list[MLBackend]:
        """All of a project, the one first that is asked for predictions; each gets a ``/health`` and a ``/setup``."""
        with self._asking(f"list the ML backends of project {project_id}") as studio:
            return [MLBackend.of(found) for found in listed(studio.ml.list(project=project_id))]

    def add_ml_backend(self, project_id: int, *, url: str, title: str, auth: BasicAuth | None) -> MLBackend:
        """Connect an interactive ML backend, which must be up: Label Studio tries it first.

        It also gives the project's webhooks one of ``<url>/webhook``, without headers and for all actions. Where its
        SSRF guard refuses that address, this raises though the ML backend was saved.
        """
        with self._asking(f"add the ML backend {url}") as studio:
            made = studio.ml.create(project=project_id, url=url, title=title, is_interactive=True, **_auth_fields(auth))
            return MLBackend.of(made)

    def update_ml_backend(
        self, backend_id: int, *, project_id: int, url: str, title: str, auth: BasicAuth | None
    ) -> MLBackend:
        """Save an ML backend as interactive, whole: with less than these fields Label Studio fails with a 500."""
        with self._asking(f"update the ML backend {url}") as studio:
            saved = studio.ml.update(
                backend_id, project=project_id, url=url, title=title, is_interactive=True, **_auth_fields(auth)
            )
            return MLBackend.of(saved)

    def delete_ml_backend(self, backend_id: int) -> None:
        """Its webhook stays. Where the project's version was its title, the project has none afterwards."""
        with self._asking(f"remove ML backend {backend_id}") as studio:
            studio.ml.delete(backend_id)

    def webhooks(self, project_id: int) -> list[Webhook]:
        with self._asking(f"list the webhooks of project {project_id}") as studio:
            return [Webhook.of(found) for found in listed(studio.webhooks.list(project=str(project_id)))]

    def create_webhook(
        self, project_id: int, *, url: str, headers: Mapping[str, str], actions: Sequence[str]
    ) -> Webhook:
        """Have events told to ``url`` with their payload, of these actions only."""
        with self._asking(f"create the webhook {url}") as studio:
            return Webhook.of(studio.webhooks.create(project=project_id, url=url, **_webhook_fields(headers, actions)))

    def update_webhook(self, webhook_id: int, *, headers: Mapping[str, str], actions: Sequence[str]) -> None:
        """Make it active, with payload, for these actions only; its URL stays."""
        with self._asking(f"update webhook {webhook_id}") as studio:
            studio.webhooks.update(webhook_id, **_webhook_fields(headers, actions))

    def delete_webhook(self, webhook_id: int) -> None:
        with self._asking(f"remove webhook {webhook_id}") as studio:
            studio.webhooks.delete(webhook_id)

    def annotated_tasks(self, project_id: int) -> Iterator[dict[str, Any]]:
        """Every task with an annotation that counts, by id, with ``data``, ``annotations`` and ``predictions``.

        A task that was only skipped is not among them, but the skipped annotations (``was_cancelled``) of the others
        are. One page is held at a time; 2,500 tasks take 5.8 s, listed without ``include`` 9.2 s. Pages start behind
        the last id, so that annotating meanwhile moves nothing from one page to the next.
        """
        last_id = 0
        while page := self._annotated_page(project_id, last_id):
            yield from page
            last_id = page[-1]["id"]
            if len(page) < TASKS_PER_PAGE:
                return

    def _annotated_page(self, project_id: int, after_id: int) -> list[dict[str, Any]]:
        with self._asking(f"list the annotated tasks of project {project_id}") as studio:
            page: Any = studio.tasks.list(
                project=project_id,
                query=json.dumps(_annotated_after(after_id)),
                fields="all",
                include=LISTED_FIELDS,
                page_size=TASKS_PER_PAGE,
                resolve_uri=False,
                # Without it a project with evaluate_predictions_automatically asks us to predict the whole page.
                review=True,
                request_options={"max_retries": 2},
            )
            return [task.model_dump(mode="json", exclude_unset=True) for task in page.items]

    def tasks_without(self, project_id: int, version: str | None, *, after_id: int, count: int) -> TaskPage:
        """At most ``count`` tasks behind an id, by id, with ``id`` and ``data``.

        The cheapest listing there is, 0.18 s for 1,000 tasks. Label Studio compares versions by substring.

        :param version: only tasks that have no prediction of it; None for all tasks.
        """
        items = [_compared("id", "greater", after_id)]
        if version is not None:
            versions = "filter:tasks:predictions_model_versions"
            items.append({"filter": versions, "operator": "not_contains", "type": "List", "value": [version]})
        return self._task_page(project_id, items, ("id", "data"), count)

    def present_tasks(self, project_id: int, tasks: Collection[int]) -> set[int]:
        """Those of ``tasks`` that the project has: all ids from the first of them to the last are listed."""
        found, after_id = set[int](), min(tasks) - 1
        while True:
            items = [_compared("id", "greater", after_id), _compared("id", "less", max(tasks) + 1)]
            page = self._task_page(project_id, items, ("id",), IDS_PER_PAGE).tasks
            if not page:
                return found & set(tasks)
            found |= {task["id"] for task in page}
            after_id = page[-1]["id"]

    def _task_page(
        self, project_id: int, items: Sequence[Mapping[str, Any]], fields: Sequence[str], count: int
    ) -> TaskPage:
        """Tasks without their annotations and predictions, by id."""
        query = {"filters": {"conjunction": "and", "items": list(items)}, "ordering": ["tasks:id"]}
        with self._asking(f"list the tasks of project {project_id}") as studio:
            page: Any = studio.tasks.list(
                project=project_id,
                query=json.dumps(query),
                fields="task_only",
                include=",".join(fields),
                page_size=count,
                resolve_uri=False,
                review=True,
                request_options={"max_retries": 2},
            )
            tasks = [{"id": given("id", task.id), "data": task.data} for task in page.items or []]
            return TaskPage(tasks, int(given("total", page.response.total)))

    def import_predictions(self, project_id: int, rows: Sequence[Mapping[str, Any]]) -> int:
        """How many of ``rows`` (``task``, ``result``, ``score``, ``model_version``) were taken.

        One call costs seconds in a large project, whatever its size, and is not idempotent. Rows that Label Studio
        finds invalid are dropped without a word, so the number is to be compared.
        """
        with self._asking(f"take {len(rows)} predictions into project {project_id}") as studio:
            requests: Any = list(rows)
            return int(studio.projects.import_predictions(project_id, request=requests).created or 0)

    def predictions(self, project_id: int) -> list[TaskPrediction]:
        """All of a project's predictions, of every version, by id."""
        with self._asking(f"list the predictions of project {project_id}") as studio:
            found = listed(studio.predictions.list(project=project_id))
            return sorted((TaskPrediction.of(row) for row in found), key=lambda row: row.id)

    def delete_prediction(self, prediction_id: int) -> None:
        """One that is gone already, with its task perhaps, is as good."""
        try:
            with self._asking(f"remove prediction {prediction_id}") as studio:
                studio.predictions.delete(prediction_id)
        except StudioError as error:
            if error.status != 404:
                raise

    @contextmanager
    def _asking(self, purpose: str) -> Iterator["LabelStudio"]:
        """The SDK's client, for one request; ``purpose`` completes the text of what goes wrong within."""
        with translated(self.url, purpose):
            yield self._sdk


def _auth_fields(auth: BasicAuth | None) -> dict[str, Any]:
    """How an ML backend's body says it. A stored password cannot be cleared, but without a user it is not sent."""
    if auth is None:
        return {"auth_method": "NONE", "basic_auth_user": ""}
    return {"auth_method": "BASIC_AUTH", "basic_auth_user": auth.user, "basic_auth_pass": auth.password}


def _webhook_fields(headers: Mapping[str, str], actions: Sequence[str]) -> dict[str, Any]:
    fields = {"headers": dict(headers), "actions": list(actions)}
    return {**fields, "is_active": True, "send_payload": True, "send_for_all_actions": False}


def _annotated_after(task_id: int) -> dict[str, Any]:
    """The Data Manager query for tasks with annotations behind an id; skipped annotations are not in its count."""
    items = [_compared("total_annotations", "greater", 0), _compared("id", "greater", task_id)]
    return {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}


def _compared(column: str, operator: str, value: int) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": "Number", "value": value}
