"""What is at an address: an HTTP answer, or why there is none, told apart as the cures for it differ.

A look is one short request that follows no redirect and raises nothing: trouble is what it is after. httpx, which Label
Studio's SDK brings, is imported at the first look. The texts about it are ``doctor.cures``.
"""

import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from prelabel.config import LOOPBACK

LOOK_TIMEOUT_S = 4.0
MOST_READ = 1_000_000
"""Characters of an answer; what is longer is cut."""
NO_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}
"""OpenSSL's words for an answer that is no TLS."""


class Trouble(Enum):
    """Why nothing that could be used is at an address."""

    NO_HOST = auto()
    """The name of the host is not known here."""
    REFUSED = auto()
    """The host is there and nothing listens at the port."""
    SILENT = auto()
    """No answer in time: a firewall, a wrong host, or a server that hangs."""
    PLAIN = auto()
    """``https`` was asked of what speaks ``http``."""
    ENCRYPTED = auto()
    """``http`` was asked of what speaks ``https``."""
    CERTIFICATE = auto()
    """TLS is spoken there, but its certificate is not trusted here."""
    PASSWORD = auto()
    """Redis only: it wants another password, or one at all."""
    FOREIGN = auto()
    """Something else answers there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server sent."""

    status: int
    body: str = field(repr=False)
    location: str = ""
    """Where it redirects to."""

    @property
    def data(self) -> dict[str, Any]:
        """The JSON object that it is, empty if it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def look(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    auth: tuple[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
    timeout_s: float = LOOK_TIMEOUT_S,
) -> Answer | Trouble:
    """What a GET finds at ``url``, or a POST with ``body`` as JSON."""
    import httpx

    try:
        with httpx.Client(verify=_trusted(), timeout=timeout_s, headers=headers, auth=auth) as client:
            reply = client.get(url) if body is None else client.post(url, json=body)
    except httpx.TimeoutException:
        return Trouble.SILENT
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return trouble_of(error) or _unless_encrypted(url, timeout_s)
    if reply.status_code == 400 and "HTTPS port" in reply.text[:MOST_READ]:  # nginx
        return Trouble.ENCRYPTED
    return Answer(reply.status_code, reply.text[:MOST_READ], reply.headers.get("location", ""))


def is_loopback(url: str) -> bool:
    """Whether an address is of the machine, or the container, from which it is called."""
    host = urlsplit(url).hostname or ""
    try:
        return host in LOOPBACK or ip_address(host).is_loopback
    except ValueError:
        return False


def without_login(url: str) -> str:
    """``url`` without a user and password in it, fit to be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@cache
def _trusted() -> ssl.SSLContext:
    """The authorities that are trusted, read once: it takes longer than a look."""
    import httpx

    return httpx.create_ssl_context()


def trouble_of(error: BaseException) -> Trouble | None:
    """What the operating system said at the bottom of a client's error, None if that tells nothing."""
    for cause in _causes(error):
        match cause:
            case socket.gaierror():
                return Trouble.NO_HOST
            case ConnectionRefusedError():
                return Trouble.REFUSED
            case ssl.SSLError(reason=reason):
                return Trouble.PLAIN if reason in NO_TLS else Trouble.CERTIFICATE
            case TimeoutError():
                return Trouble.PLAIN if "handshake" in str(cause) else Trouble.SILENT
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _unless_encrypted(url: str, timeout_s: float) -> Trouble:
    """A server of ``https`` hangs up on ``http``, and so may anything else: only asking it tells."""
    if urlsplit(url).scheme == "http":
        again = look("https" + url.removeprefix("http"), timeout_s=timeout_s)
        if isinstance(again, Answer) or again is Trouble.CERTIFICATE:
            return Trouble.ENCRYPTED
    return Trouble.FOREIGN
