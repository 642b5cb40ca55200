"""What a right connection looks like, and what is wrong with the one that was found: pure, no request is made here.

One ML backend row of our address, one webhook beside it; ``connect`` carries out what is planned here. Facts about
Label Studio are those of 1.23.2.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Self, TypeVar
from urllib.parse import urlsplit

from prelabel.config import Settings
from prelabel.studio.rows import BasicAuth, MLBackend, StudioProject, Webhook

ACTIONS = (
    "ANNOTATION_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATIONS_DELETED",
    "TASKS_DELETED",
    "PROJECT_UPDATED",
)
"""The events prelabel learns from. By default Label Studio sends all, and an import as megabytes of TASKS_CREATED."""

SECRET_HEADER = "X-Prelabel-Secret"  # noqa: S105 - its name, not its value
DEFAULT_PORTS = {"http": 80, "https": 443}
UNUSABLE = {"DI", "ER"}
"""States of an ML backend that Label Studio did not reach, or whose ``/setup`` failed, a wrong password among it."""

Row = TypeVar("Row", MLBackend, Webhook)


@dataclass(frozen=True, slots=True)
class Wanted:
    """How this backend is to stand in Label Studio."""

    url: str
    """The backend's address as Label Studio reaches it."""
    title: str
    """The current ``model_version``: scores are shown only where title, project and predictions agree on it."""
    auth: BasicAuth | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of the webhook, since Label Studio sends its events without basic auth."""

    @classmethod
    def by_settings(cls, url: str, title: str, settings: Settings) -> Self:
        password = settings.basic_auth_pass.get_secret_value()
        secret = settings.effective_webhook_secret
        return cls(
            url=url,
            title=title,
            auth=BasicAuth(settings.basic_auth_user, password) if settings.has_auth else None,
            headers={SECRET_HEADER: secret} if secret else {},
        )

    @property
    def webhook_url(self) -> str:
        """As Label Studio builds it when it adds an ML backend."""
        return self.url.rstrip("/") + "/webhook"


@dataclass(frozen=True, slots=True)
class Plan(Generic[Row]):
    """One row is enough: which it is, what is wrong with it, and which others go."""

    keep: Row | None
    wrong: tuple[str, ...] = ()
    surplus: tuple[Row, ...] = ()


def plan_backend(found: Iterable[MLBackend], wanted: Wanted) -> Plan[MLBackend]:
    """Which ML backend of a project is ours; others of the same address are left from attempts that failed halfway."""
    return _plan(found, wanted.url, lambda row: _backend_faults(row, wanted))


def plan_webhook(found: Iterable[Webhook], wanted: Wanted) -> Plan[Webhook]:
    """Which webhook of a project is ours; headers that somebody else gave it stay."""
    return _plan(found, wanted.webhook_url, lambda row: _webhook_faults(row, wanted))


def warnings(project: StudioProject, backends: Sequence[MLBackend], own: MLBackend) -> tuple[str, ...]:
    """What only people can decide, and what it costs meanwhile.

    :param backends: the project's, in Label Studio's order, as they were before ours was added.
    """
    return tuple(_warnings(project, backends, own))


def same_url(one: str, other: str) -> bool:
    """Whether two addresses are the same but for a trailing slash, the host's case and a port that is the default."""
    return _normalized(one) == _normalized(other)


def _plan(found: Iterable[Row], url: str, faults: Callable[[Row], Iterator[str]]) -> Plan[Row]:
    ours = [row for row in found if same_url(row.url, url)]
    return Plan(ours[0], tuple(faults(ours[0])), tuple(ours[1:])) if ours else Plan(None)


def _backend_faults(row: MLBackend, wanted: Wanted) -> Iterator[str]:
    if row.title != wanted.title:
        yield f"its title was {row.title!r}"
    if not row.is_interactive:
        yield "interactive pre-annotation was off"
    if row.auth_user != (wanted.auth.user if wanted.auth else "") or (wanted.auth and not row.has_password):
        yield "its basic auth was not that of the settings"
    if row.state in UNUSABLE:  # the stored password cannot be read, but Label Studio has just tried it
        yield f"Label Studio could not use it ({row.error_message or 'not reached'})"


def _webhook_faults(row: Webhook, wanted: Wanted) -> Iterator[str]:
    if not row.is_active:
        yield "it was inactive"
    if not row.send_payload:
        yield "it sent no payload"
    if row.send_for_all_actions or row.actions != frozenset(ACTIONS):
        yield "it was for other actions"
    if any(row.headers.get(name) != value for name, value in wanted.headers.items()):
        yield "its secret header was missing or another"


def _warnings(project: StudioProject, backends: Sequence[MLBackend], own: MLBackend) -> Iterator[str]:
    if not project.show_collab_predictions:
        yield (
            "people who label see no predictions: turn on 'Use predictions to prelabel tasks' "
            "in the project's Settings > Annotation > Prelabeling"
        )
    if backends and not same_url(backends[0].url, own.url):
        yield (
            "Label Studio asks a project's first ML backend only, and that is "
            f"{backends[0].title!r} at {backends[0].url}: remove it in the project's Settings > Model"
        )


def _normalized(url: str) -> tuple[str, str, int | None, str, str]:
    try:
        parts = urlsplit(url.strip())
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:  # a port or an IPv6 address that is none, typed into Label Studio by hand
        return ("", url, None, "", "")
    return (parts.scheme, parts.hostname or "", port, parts.path.rstrip("/"), parts.query)
