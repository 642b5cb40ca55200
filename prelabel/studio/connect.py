"""Makes Label Studio's side of the connection right: one ML backend row, one version, one webhook.

``wiring`` finds what is wrong; here it is put right and told. What is right already is left alone, so that connecting
again writes nothing. While it runs Label Studio asks the backend for ``/health`` and ``/setup``, so it has to be up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from prelabel.config import Settings
from prelabel.errors import StudioError
from prelabel.studio import wiring
from prelabel.studio.rows import BasicAuth, MLBackend, StudioProject, Webhook
from prelabel.studio.wiring import Wanted


class Studio(Protocol):
    """What connecting needs of ``StudioClient``."""

    def project(self, project_id: int) -> StudioProject: ...
    def set_project_version(self, project_id: int, version: str) -> None: ...
    def ml_backends(self, project_id: int) -> list[MLBackend]: ...
    def add_ml_backend(self, project_id: int, *, url: str, title: str, auth: BasicAuth | None) -> MLBackend: ...
    def update_ml_backend(
        self, backend_id: int, *, project_id: int, url: str, title: str, auth: BasicAuth | None
    ) -> MLBackend: ...
    def delete_ml_backend(self, backend_id: int) -> None: ...
    def webhooks(self, project_id: int) -> list[Webhook]: ...
    def create_webhook(
        self, project_id: int, *, url: str, headers: Mapping[str, str], actions: Sequence[str]
    ) -> Webhook: ...
    def update_webhook(self, webhook_id: int, *, headers: Mapping[str, str], actions: Sequence[str]) -> None: ...
    def delete_webhook(self, webhook_id: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Connection:
    """What stands in Label Studio after connecting."""

    backend_id: int
    webhook_id: int
    changes: tuple[str, ...]
    """What was written, for people to read; empty if all was right already."""
    warnings: tuple[str, ...]
    """What connecting leaves to people, and what it costs meanwhile."""


def connect(
    client: Studio, project_id: int, *, backend_url: str, title: str, settings: Settings, adopt_only: bool = False
) -> Connection:
    """Connect this backend to a project; doing so again changes nothing.

    :param backend_url: the backend's address as Label Studio reaches it.
    :param title: the current ``model_version``, the same that ``/setup`` answers.
    :param adopt_only: never add the ML backend row: for a project that turns up by itself, since its row is about to
        be saved by Label Studio.
    :raises StudioError: Label Studio refused; the text names the cure. What was put right before stays.
    """
    work = _Work(client, project_id, Wanted.by_settings(backend_url, title, settings))
    found = client.ml_backends(project_id)
    backend = work.settle_backend(found, adopt_only=adopt_only)
    project = work.settle_version()
    webhook_id = work.settle_webhook()
    return Connection(backend.id, webhook_id, tuple(work.changes), wiring.warnings(project, found, backend))


def known_address(client: Studio, project_id: int, addresses: Sequence[str]) -> str:
    """Which of our ``addresses`` the project has an ML backend at; the first of them if it has none."""
    if len(addresses) == 1:
        return addresses[0]
    rows = client.ml_backends(project_id)
    return next((url for url in addresses if any(wiring.same_url(url, row.url) for row in rows)), addresses[0])


def sync_title(client: Studio, project_id: int, *, backend_url: str, title: str, settings: Settings) -> tuple[str, ...]:
    """Move the ML backend's title and the project's version to a new ``model_version``; webhooks are not looked at.

    :returns: what was changed, for people to read; empty if both were there already.
    :raises StudioError: Label Studio refused, or has no ML backend of that address.
    """
    work = _Work(client, project_id, Wanted.by_settings(backend_url, title, settings))
    work.settle_backend(client.ml_backends(project_id), adopt_only=True)
    work.settle_version()
    return tuple(work.changes)


class _Work:
    """One connecting: puts right what is wrong and notes it in ``changes``."""

    def __init__(self, client: Studio, project_id: int, wanted: Wanted) -> None:
        self.client = client
        self.project_id = project_id
        self.wanted = wanted
        self.changes: list[str] = []

    def settle_backend(self, found: Sequence[MLBackend], *, adopt_only: bool) -> MLBackend:
        """One row of our address, as wanted. Surplus goes first: with a title the project's version may go too."""
        plan = wiring.plan_backend(found, self.wanted)
        for row in plan.surplus:
            self.client.delete_ml_backend(row.id)
            self.changes.append(f"ML backend {row.id} removed: it stood there twice")
        if plan.keep is not None:
            return self.save_backend(plan.keep, plan.wrong) if plan.wrong else plan.keep
        if not adopt_only:
            return self.add_backend()
        raise StudioError(
            f"project {self.project_id} has no ML backend {self.wanted.url}",
            f"add it by 'python -m prelabel connect --project {self.project_id}'",
        )

    def add_backend(self) -> MLBackend:
        """A new row, or the one that Label Studio saved before its SSRF guard refused the webhook that goes with it."""
        try:
            row = self.client.add_ml_backend(
                self.project_id, url=self.wanted.url, title=self.wanted.title, auth=self.wanted.auth
            )
        except StudioError:
            saved = wiring.plan_backend(self.client.ml_backends(self.project_id), self.wanted).keep
            if saved is None:
                raise
            row = saved
        self.changes.append(f"ML backend {row.id} added: {row.url}")
        return row

    def save_backend(self, row: MLBackend, wrong: Sequence[str]) -> MLBackend:
        """The whole row, auth included; its address stays as people typed it."""
        self.changes.append(f"ML backend {row.id} put right: {', '.join(wrong)}")
        return self.client.update_ml_backend(
            row.id, project_id=self.project_id, url=row.url, title=self.wanted.title, auth=self.wanted.auth
        )

    def settle_version(self) -> StudioProject:
        """The project's version is read only now, since Label Studio moves it along with rows added or removed."""
        project = self.client.project(self.project_id)
        if project.model_version != self.wanted.title:
            self.client.set_project_version(self.project_id, self.wanted.title)
            self.changes.append(f"project's version set to {self.wanted.title!r}: it was {project.model_version!r}")
        return project

    def settle_webhook(self) -> int:
        """One webhook beside the ML backend, as wanted; adding one often made its own, for all actions."""
        plan = wiring.plan_webhook(self.client.webhooks(self.project_id), self.wanted)
        for row in plan.surplus:
            self.client.delete_webhook(row.id)
            self.changes.append(f"webhook {row.id} removed: it stood there twice")
        if plan.keep is None:
            return self.add_webhook()
        if plan.wrong:
            headers = {**plan.keep.headers, **self.wanted.headers}
            self.client.update_webhook(plan.keep.id, headers=headers, actions=wiring.ACTIONS)
            self.changes.append(f"webhook {plan.keep.id} put right: {', '.join(plan.wrong)}")
        return plan.keep.id

    def add_webhook(self) -> int:
        try:
            row = self.client.create_webhook(
                self.project_id, url=self.wanted.webhook_url, headers=self.wanted.headers, actions=wiring.ACTIONS
            )
        except StudioError as error:
            raise StudioError(f"Predictions are connected, but corrections do not arrive: {error}") from error
        self.changes.append(f"webhook {row.id} added: {row.url}")
        return row.id
