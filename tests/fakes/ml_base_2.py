"""The contract of the label-studio-ml-backend repository's 2.x base class and server, as far as a model meets it.

Read in its ``model.py`` and ``api.py`` in November 2026: an object is made for every request as
``(project_id=, label_config=)``; its constructor keeps config and version in a cache; ``/setup`` answers what
``get("model_version")`` says; ``predict`` gets the context and whatever else ``params`` holds; ``fit`` gets
``(event, data)``, with ``data`` less the action.
"""

from types import ModuleType
from typing import Any


class LabelStudioMLBase:
    """2.x's base class; ``cache`` stands for the file that it keeps."""

    cache: dict[tuple[str, str], Any] = {}  # noqa: RUF012 - one for all, as the real one

    def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
        self.project_id = project_id or ""
        self.set("label_config", label_config)
        self.set("model_version", "0.0.1")
        self.setup()

    def setup(self) -> None: ...

    def get(self, key: str) -> Any:
        return self.cache[self.project_id, key]

    def set(self, key: str, value: Any) -> None:
        self.cache[self.project_id, key] = value

    @property
    def label_config(self) -> Any:
        return self.get("label_config")

    @property
    def model_version(self) -> Any:
        return self.get("model_version")


class Server:
    """2.x's server, without its HTTP: each method is what one endpoint does with a request's JSON."""

    def __init__(self, model_class: Any) -> None:
        self._model_class = model_class

    def setup(self, body: dict[str, Any]) -> Any:
        model = self._model_class(project_id=body["project"].split(".", 1)[0], label_config=body["schema"])
        return model.get("model_version")

    def predict(self, body: dict[str, Any]) -> Any:
        project_id = str(body.get("project")).split(".", 1)[0]
        params = dict(body.get("params", {}))
        context = params.pop("context", {})
        model = self._model_class(project_id=project_id, label_config=body["label_config"])
        reply = model.predict(body["tasks"], context=context, **params)
        return reply.get("predictions", reply) if isinstance(reply, dict) else reply

    def webhook(self, body: dict[str, Any]) -> Any:
        data = dict(body)
        event = data.pop("action")
        project = data["project"]
        return self._model_class(str(project["id"]), label_config=project["label_config"]).fit(event, data)


def as_module() -> ModuleType:
    """A module to stand for ``label_studio_ml.model``."""
    module = ModuleType("label_studio_ml.model")
    vars(module)["LabelStudioMLBase"] = LabelStudioMLBase
    return module
