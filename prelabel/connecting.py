"""Keeps projects connected by themselves: one that calls for the first time, one whose version has moved.

Label Studio hides scores unless ML backend title, project version and ``/setup``'s reply are one string, and its events
do not get in unless the webhook carries the secret; both need calls to its API, which a worker makes.
"""

import logging

from prelabel.config import Settings
from prelabel.errors import StoreUnavailable
from prelabel.learning import Jobs
from prelabel.service import Service
from prelabel.store.keys import ProjectRef

log = logging.getLogger(__name__)


class Connecting:
    """What is to be done when a project shows up."""

    def __init__(self, settings: Settings, service: Service, jobs: Jobs) -> None:
        self._address = settings.address if settings.prelabel_url else ""
        self._path = settings.path
        self._can_connect = bool(settings.label_studio_url and settings.label_studio_api_key)
        self._service = service
        self._jobs = jobs

    def notice(self, ref: ProjectRef, label_config: str, *, called_at: str) -> None:
        """A project has called us; never raises for want of Redis, never waits for Label Studio.

        :param called_at: our address as the request has it, with the path of ``PRELABEL_URL`` if that has one. Behind a
            reverse proxy that is often not the one that Label Studio knows, which ``PRELABEL_URL`` is; and a row that
            was added by hand may be without the path, since we answer there, too. So all of them are looked for.
        """
        if not self._can_connect:
            return
        try:
            project = self._service.open(ref, label_config)
            if not project.state.backend_url:
                self._jobs.put("adopt", project.ref, *self._addresses(called_at))
            elif project.state.title != project.version:
                self._jobs.put("sync_title", project.ref)
        except StoreUnavailable as error:
            log.warning("project %s is left as it is connected: %s", ref.id, error)

    def _addresses(self, called_at: str) -> list[str]:
        """Where Label Studio may know us, the surest first."""
        called_at = called_at.rstrip("/")
        without_path = called_at.removesuffix(self._path)
        return list(dict.fromkeys(filter(None, (self._address, called_at, without_path))))
