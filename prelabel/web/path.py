"""Serving under a path, such as ``/prelabel`` of ``PRELABEL_URL=https://tools.example.com/prelabel``.

Some reverse proxies take the path off before they pass a request on, others leave it there; both are answered, and
either way addresses that the application makes of itself carry the path: from here a proxy that takes it off cannot be
told from somebody who never had it, so ``connecting`` looks for either. No header that a proxy adds is believed.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class UnderPath:
    """Takes ``path`` off requests that still have it.

    :param path: with a slash before it and none behind.
    """

    def __init__(self, application: "WSGIApplication", path: str) -> None:
        self._application = application
        self._path = path

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        asked = str(environ.get("PATH_INFO", ""))
        if asked == self._path or asked.startswith(f"{self._path}/"):
            asked = asked.removeprefix(self._path) or "/"
        return self._application({**environ, "SCRIPT_NAME": self._path, "PATH_INFO": asked}, start_response)
