"""Rows of Label Studio's tables as values: what its SDK parsed, reduced to what prelabel decides by.

The SDK (label-studio-sdk 2.1) checks nothing that it parses, so whatever answers JSON passes for Label Studio; a row
without its id is refused here. ``client`` reads these, ``connect`` compares them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeVar

from prelabel.errors import StudioError
from prelabel.studio.refusals import NOT_LABEL_STUDIO

if TYPE_CHECKING:
    import label_studio_sdk as sdk

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StudioProject:
    """A project's settings, as far as they decide how its predictions are asked for and shown."""

    id: int
    created_unix: int
    """Whole seconds: ``"<id>.<created_unix>"`` is the ``project`` that Label Studio sends to ML backends."""
    title: str
    label_config: str
    model_version: str
    """Empty, or the version whose scores Label Studio shows and filters by."""
    show_collab_predictions: bool

    @classmethod
    def of(cls, row: "sdk.LseProjectResponse") -> Self:
        return cls(
            id=given("id", row.id),
            created_unix=int(given("created_at", row.created_at).timestamp()),
            title=row.title or "",
            label_config=row.label_config or "",
            model_version=row.model_version or "",
            show_collab_predictions=bool(row.show_collab_predictions),
        )


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """What Label Studio is to send to a backend."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MLBackend:
    """A project's connection to an ML backend."""

    id: int
    url: str
    title: str
    is_interactive: bool
    state: str
    """``CO`` connected, ``TR`` training, ``DI`` not reached, ``ER`` its ``/setup`` failed, by a wrong password too."""
    error_message: str = ""
    auth_user: str = ""
    """Empty where no basic auth is sent."""
    has_password: bool = False

    @classmethod
    def of(cls, row: "sdk.MlBackend") -> Self:
        return cls(
            id=given("id", row.id),
            url=row.url,
            title=row.title or "",
            is_interactive=bool(row.is_interactive),
            state=row.state or "",
            error_message=row.error_message or "",
            auth_user=(row.basic_auth_user or "") if row.auth_method == "BASIC_AUTH" else "",
            has_password=bool(row.basic_auth_pass_is_set),
        )


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where Label Studio tells of a project's events, and of which."""

    id: int
    url: str
    is_active: bool
    send_payload: bool
    send_for_all_actions: bool
    headers: Mapping[str, str]
    actions: frozenset[str]

    @classmethod
    def of(cls, row: "sdk.Webhook") -> Self:
        return cls(
            id=given("id", row.id),
            url=row.url,
            is_active=bool(row.is_active),
            send_payload=bool(row.send_payload),
            send_for_all_actions=bool(row.send_for_all_actions),
            headers=dict(row.headers or {}),
            actions=frozenset(row.actions or ()),
        )


@dataclass(frozen=True, slots=True)
class TaskPage:
    """Some tasks of a listing, and how many there are in all."""

    tasks: list[dict[str, Any]]
    total: int


@dataclass(frozen=True, slots=True)
class TaskPrediction:
    """A prediction, as far as it has to be told from others of its task."""

    id: int
    task_id: int
    version: str
    score: float | None = None
    is_empty: bool = False
    """It shows nothing."""

    @classmethod
    def of(cls, row: "sdk.Prediction") -> Self:
        return cls(given("id", row.id), given("task", row.task), row.model_version or "", row.score, not row.result)


def given(name: str, value: T | None) -> T:
    """The value of a field that Label Studio always sends.

    :raises StudioError: it is missing, so something else answered.
    """
    if value is None:
        raise StudioError(f"the answer has no {name!r}", NOT_LABEL_STUDIO)
    return value


def listed(found: list[T]) -> list[T]:
    """:raises StudioError: the answer is no list, so something else answered."""
    if not isinstance(found, list):
        raise StudioError(NOT_LABEL_STUDIO)
    return found
