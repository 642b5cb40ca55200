"""The backend that runs, asked from a shell which version it has of a project.

A shell has settings of its own. Where they are not the backend's it has another version, and what ``doctor`` says and
``connect`` writes by that would be wrong of what runs.
"""

from dataclasses import dataclass

from prelabel.address import Answer, look
from prelabel.config import Settings
from prelabel.studio.rows import StudioProject
from prelabel.versions import settings_apart

MODEL_CLASS = "PrelabelModel"
ASK_S = 5.0


@dataclass(frozen=True, slots=True)
class RunningBackend:
    """A prelabel that answers."""

    url: str
    settings: Settings
    """This shell's, whose password it is asked with."""

    def version_of(self, project: StudioProject) -> str:
        """What Label Studio is told of the project at every look at it; empty if the backend does not tell."""
        body = {"project": f"{project.id}.{project.created_unix}", "schema": project.label_config}
        found = look(f"{self.url}/setup", auth=auth_of(self.settings), body=body, timeout_s=ASK_S)
        return str(found.data.get("model_version") or "") if isinstance(found, Answer) else ""


def running_backend(settings: Settings) -> RunningBackend | None:
    """The one at ``PRELABEL_URL``, which need not be an address for here, else at this machine's ``PORT``."""
    for url in dict.fromkeys((settings.address, local_address(settings))):
        found = look(f"{url}/health")
        if isinstance(found, Answer) and is_prelabel(found):
            return RunningBackend(url, settings)
    return None


def is_prelabel(health: Answer) -> bool:
    """Whether that is what ``/health`` says here."""
    return health.data.get("status") == "UP" and health.data.get("model_class") == MODEL_CLASS


def local_address(settings: Settings) -> str:
    return f"http://localhost:{settings.port}"


def auth_of(settings: Settings) -> tuple[str, str] | None:
    return (settings.basic_auth_user, settings.basic_auth_pass.get_secret_value()) if settings.has_auth else None


def difference(project: int, ours: str, theirs: str) -> tuple[str, str]:
    """What to tell of a project's two versions, and what to do about it; see :func:`settings_apart`."""
    names = " or ".join(settings_apart(ours, theirs))
    told = (
        f"this shell's settings are not the backend's: project {project} is {ours!r} by them, {theirs!r} by the backend"
    )
    here = f"set {names} here as the backend has it" if names else "give this shell the backend's settings"
    return told, f"{here}, or start backend and workers again with what is set here"
