"""The Label Studio ML backend: translates Label Studio's calls and hands them to ``prelabel``.

Runs under the base class of label-studio-ml 1.0.9 and, unchanged, under that of the label-studio-ml-backend repository
(2.x), so it relies on nothing that only one of them has and keeps no state in either: the object is made anew for every
request, what lasts is in Redis.
"""

from collections.abc import Mapping
from typing import Any

from label_studio_ml.model import LabelStudioMLBase

from prelabel.bootstrap import Services, services
from prelabel.errors import RequestError
from prelabel.store.keys import ProjectRef

NO_PROJECT = {"", "None"}
"""What 2.x's server passes where a request named no project."""


class PrelabelModel(LabelStudioMLBase):  # type: ignore[misc] # the base class has no types
    """One project of one request.

    :param project_id: as Label Studio sends it, ``"<id>.<time it was made>"``, or the id alone.
    :param label_config: the project's label config (XML).
    :param work: services other than the process's own.
    """

    def __init__(
        self,
        project_id: str | int | None = None,
        label_config: str | None = None,
        work: Services | None = None,
        **_: Any,
    ) -> None:
        # The base class's constructor is left out: 1.0.9's parses the config in a way of its own, 2.x's keeps it, and a
        # version of its own, in its cache.
        self.project_id = str(project_id or "")
        self._work = work or services()
        self._ref = ProjectRef.parse(project_id) if self.project_id not in NO_PROJECT else ProjectRef(0)
        self._schema = label_config or ""

    @property
    def model_version(self) -> str:
        """The version that predictions carry now."""
        return self._work.service.open(self._ref, self._schema).version

    def get(self, key: str) -> Any:
        """2.x's server asks for the version this way; nothing is read from its cache."""
        return self.model_version if key == "model_version" else None

    def set(self, key: str, value: str) -> None:
        """2.x's server would keep a project's extra parameters this way; ours are settings, kept in Redis."""

    def predict(
        self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **_: Any
    ) -> list[dict[str, Any]]:
        """One prediction per task, in order; with a ``context`` (a prompt typed in the interface) one for its task."""
        if not context:  # 2.x passes {} where Label Studio sent none
            return self._work.service.predict(self._ref, self._schema, tasks)
        if not tasks or not isinstance(tasks[0], Mapping):
            raise RequestError("tasks", "an interactive request needs its task")
        return [self._work.service.predict_interactive(self._ref, self._schema, tasks[0], context)]

    def fit(self, *args: Any, event: str = "", data: dict[str, Any] | None = None, **_: Any) -> dict[str, str]:
        """Learn from one of Label Studio's events: 2.x passes ``(event, data)``, 1.0.9 ``((), event=, data=)``."""
        if args and isinstance(args[0], str):
            event, data = args[0], args[1] if len(args) > 1 else data
        return {"status": self._work.learning.receive(event, data or {})}
