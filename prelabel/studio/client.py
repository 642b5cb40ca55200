"""The one place that talks to Label Studio over the network, through its official SDK.

The SDK (label-studio-sdk 2.1) is imported at the first call, never with this module: it costs 1 s and 185 MB with its
pandas (measured), for which a process that only answers ``/predict`` has no use. Whatever goes wrong leaves as a
``StudioError`` that says what to do (``refusals``). What is said here about Label Studio was seen on the wire of
1.23.2. Read ``connect`` next, which sets a project up with it.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any

from prelabel.errors import StudioError
from prelabel.studio.query import compared, compared_version, lacking, listing
from prelabel.studio.refusals import NOT_LABEL_STUDIO, translated
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
SELECTED_AT_ONCE = 300
"""Ids in one address, which Label Studio takes in as a whole."""
LISTED_AGAIN = 2
"""How many times a page is asked for again that did not come."""
LISTED_FIELDS = ",".join(
    [
        *("id", "data", "annotations", "predictions"),
        *("result", "was_cancelled", "ground_truth", "completed_by", "updated_by", "parent_prediction"),
        *("parent_annotation", "created_at", "updated_at", "lead_time", "last_action"),
    ]
)
"""``include=`` of a task listing: it names the task's fields and, all the same, those of the annotations within."""


def load() -> None:
    """Import the SDK now, for a process that forks others which would do so each; no client is made."""
    for name in ("client", "ml.client", "predictions.client", "projects.client", "tasks.client"):
        import_module(f"label_studio_sdk.{name}")


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
        items = [compared("total_annotations", "greater", 0), compared("id", "greater", after_id)]
        asked = {"fields": "all", "include": LISTED_FIELDS, "page_size": TASKS_PER_PAGE}
        page = self._page(project_id, items, asked)
        return [task.model_dump(mode="json", exclude_unset=True) for task in page.items]

    def task_ids(self, project_id: int, *, without: str | None, after_id: int, count: int) -> TaskPage:
        """At most ``count`` tasks behind an id, by id, with nothing but their ``id``.

        :param without: only tasks that have no prediction of this version, which Label Studio compares by substring;
            None for all tasks.
        """
        return self._task_page(project_id, [compared("id", "greater", after_id), *lacking(without)], ("id",), count)

    def tasks_between(
        self, project_id: int, first: int, last: int, *, without: str | None, fields: Sequence[str] = ("id", "data")
    ) -> Iterator[dict[str, Any]]:
        """The tasks from one id to another, by id, with ``fields``; see :meth:`task_ids`.

        The cheapest listing there is, 0.18 s for 1,000 tasks.
        """
        after_id = first - 1
        while after_id < last:
            items = [compared("id", "greater", after_id), compared("id", "less", last + 1), *lacking(without)]
            page = self._task_page(project_id, items, fields, IDS_PER_PAGE)
            yield from page.tasks
            if len(page.tasks) == page.total:
                return
            after_id = page.tasks[-1]["id"]

    def tasks(self, project_id: int, ids: Collection[int]) -> list[dict[str, Any]]:
        """Those of ``ids`` that the project has, by id, with ``id`` and ``data``; for a few among many."""
        wanted, found = sorted(ids), list[dict[str, Any]]()
        for start in range(0, len(wanted), SELECTED_AT_ONCE):
            some = wanted[start : start + SELECTED_AT_ONCE]
            found += self._task_page(project_id, [], ("id", "data"), len(some), selected=some).tasks
        return found

    def present_tasks(self, project_id: int, tasks: Collection[int], *, without: str | None = None) -> set[int]:
        """Those of ``tasks`` that the project has (``without`` a prediction of a version).

        All ids from the first of them to the last are listed.
        """
        between = self.tasks_between(project_id, min(tasks), max(tasks), without=without, fields=("id",))
        asked = set(tasks)
        return {task["id"] for task in between if task["id"] in asked}

    def has_surplus(self, project_id: int, version: str) -> bool:
        """Whether any task has more than one prediction of a version: two counts, 0.1 s with 10,000 tasks.

        The SDK knows the one of predictions only by its path.
        """
        with self._asking(f"count the predictions of project {project_id}") as studio:
            counts = _fetched(studio, f"api/projects/{project_id}/model-versions")
            if not isinstance(counts, dict):
                raise StudioError(NOT_LABEL_STUDIO)
        items = [compared_version("contains", version)]
        return int(counts.get(version, 0)) > self._task_page(project_id, items, ("id",), 1).total

    def multiple_predictions(self, project_id: int, version: str) -> Iterator[list[TaskPrediction]]:
        """All predictions of the tasks that have several, one of ``version`` among them, some tasks at a time."""
        after_id = 0
        while True:
            items = [compared_version("contains", version), compared("total_predictions", "greater", 1)]
            page = self._page(
                project_id,
                [compared("id", "greater", after_id), *items],
                {"fields": "all", "include": "id,predictions,task,model_version", "page_size": TASKS_PER_PAGE},
            )
            rows = [row for task in page.items or [] for row in task.predictions or []]
            yield sorted((TaskPrediction.of(row) for row in rows), key=lambda row: row.id)
            if len(page.items or []) < TASKS_PER_PAGE:
                return
            after_id = given("id", page.items[-1].id)

    def predictions(self, project_id: int, tasks: Collection[int]) -> Iterator[TaskPrediction]:
        """All of these tasks."""
        wanted = sorted(tasks)
        include = "id,predictions,task,model_version,score,result"
        asked = {"fields": "all", "include": include, "page_size": TASKS_PER_PAGE}
        for start in range(0, len(wanted), TASKS_PER_PAGE):
            page = self._page(project_id, [], asked, selected=wanted[start : start + TASKS_PER_PAGE])
            yield from (TaskPrediction.of(row) for task in page.items or [] for row in task.predictions or [])

    def drop_predictions(self, project_id: int, tasks: Collection[int], *, keeps_empty: bool = False) -> set[int]:
        """Delete the predictions of these tasks, one by one; returns the tasks that had any.

        :param keeps_empty: leave those that show nothing; the annotation of somebody who has a withheld task open
            descends from one.
        """
        rows = [row for row in self.predictions(project_id, tasks) if not (keeps_empty and row.is_empty)]
        for row in rows:
            self.delete_prediction(row.id)
        return {row.task_id for row in rows}

    def _task_page(
        self,
        project_id: int,
        items: Sequence[Mapping[str, Any]],
        fields: Sequence[str],
        count: int,
        *,
        selected: Sequence[int] | None = None,
    ) -> TaskPage:
        """Tasks without their annotations and predictions, by id.

        The SDK would make a model of each, and of one without its data several: 0.1 s for 1,000 tasks.
        """
        asked = {"fields": "task_only", "include": ",".join(fields), "page": 1, "page_size": count}
        with self._asking(f"list the tasks of project {project_id}") as studio:
            page = _fetched(studio, "api/tasks/", {**listing(project_id, items, selected), **asked})
            rows = page.get("tasks") if isinstance(page, dict) else None
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise StudioError(NOT_LABEL_STUDIO)
            tasks = [{"id": given("id", row.get("id")), "data": row.get("data")} for row in rows]
            return TaskPage(tasks, int(given("total", page.get("total"))))

    def _page(
        self,
        project_id: int,
        items: Sequence[Mapping[str, Any]],
        asked: Mapping[str, Any],
        *,
        selected: Sequence[int] | None = None,
    ) -> Any:
        """The SDK's page of the tasks that fulfil all conditions, by id."""
        with self._asking(f"list the tasks of project {project_id}") as studio:
            return studio.tasks.list(
                **listing(project_id, items, selected), request_options={"max_retries": LISTED_AGAIN}, **asked
            )

    def import_predictions(self, project_id: int, rows: Iterable[Mapping[str, Any]]) -> int:
        """How many of ``rows`` (``task``, ``result``, ``score``, ``model_version``) were taken.

        One call costs seconds in a large project, whatever its size, and is not idempotent. Rows that Label Studio
        finds invalid are dropped without a word, so the number is to be compared. Each row becomes text at once: as
        objects, and as the SDK's copies of them, they take ten times as much memory.
        """
        body, count = BytesIO(), 0
        for count, row in enumerate(rows, 1):  # noqa: B007  how many there were
            body.write(b"," if body.tell() else b"[")
            body.write(json.dumps(row).encode())
        body.write(b"]" if count else b"[]")
        with self._asking(f"take {count} predictions into project {project_id}") as studio:
            path = f"api/projects/{project_id}/import/predictions"
            said = _exchanged(studio, "POST", path, content=body.getvalue())
            if not isinstance(said, dict):
                raise StudioError(NOT_LABEL_STUDIO)
            return int(said.get("created") or 0)

    def delete_prediction(self, prediction_id: int) -> None:
        """One that is gone already, with its task perhaps, is as good."""
        try:
            with self._asking(f"remove prediction {prediction_id}") as studio:
                studio.predictions.delete(prediction_id)
        except StudioError as error:
            if error.status != 404:
                raise

    def set_score(self, prediction_id: int, score: float) -> None:
        """Of a prediction that stays what it is, 0.04 s each; of one that is gone, nothing."""
        try:
            with self._asking(f"score prediction {prediction_id}") as studio:
                studio.predictions.update(prediction_id, score=score)
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


def _fetched(studio: "LabelStudio", path: str, params: Mapping[str, Any] | None = None) -> Any:
    """What Label Studio answers where the SDK has no method, or too slow a one.

    :raises ApiError: it refuses.
    """
    return _exchanged(studio, "GET", path, params=dict(params or {}), request_options={"max_retries": LISTED_AGAIN})


def _exchanged(studio: "LabelStudio", method: str, path: str, **more: Any) -> Any:
    """What Label Studio answers to what the SDK's client sends as it is.

    :raises ApiError: it refuses.
    """
    from label_studio_sdk.core.api_error import ApiError

    response = studio._client_wrapper.httpx_client.request(  # noqa: SLF001  no other way
        path, method=method, headers={"content-type": "application/json"}, **more
    )
    if not response.is_success:
        try:
            body = response.json()
        except ValueError:
            body = response.text
        raise ApiError(status_code=response.status_code, body=body, headers=dict(response.headers))
    return response.json()
