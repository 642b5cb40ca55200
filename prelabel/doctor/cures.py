"""What is wrong with an address, in words, and what to do about it: pure, asked for by every check that calls one.

A message names the address and what was found there; a cure names the variable to change, and to what.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from prelabel.address import Trouble, is_loopback, without_login

DOCKER_HOST = "host.docker.internal"
CONNECT = "python -m prelabel connect --project {}"


@dataclass(frozen=True, slots=True)
class Place:
    """A server that prelabel calls."""

    name: str
    """What should be there, such as ``Redis``."""
    variable: str
    """The setting that holds its address."""
    url: str
    start: str
    """How it is started, after "start it"; empty where that goes without saying."""
    service: str
    """What it would be called in a Compose file."""


def unreachable(place: Place, trouble: Trouble, *, in_container: bool) -> tuple[str, str]:
    """What is the matter, and its cure."""
    message, cure = _plainly(place, trouble)
    if in_container and is_loopback(place.url) and trouble in {Trouble.REFUSED, Trouble.SILENT, Trouble.FOREIGN}:
        host = urlsplit(place.url).hostname
        message += f"; this is a container, whose {host} is the container itself"
        cure = (
            f"set {place.variable} to {_at(place.url, DOCKER_HOST)} if it runs on the machine itself, "
            f"or to {_at(place.url, place.service)} if it is another container, by that one's name"
        )
    return message, cure


def _plainly(place: Place, trouble: Trouble) -> tuple[str, str]:
    url, host, variable = without_login(place.url), urlsplit(place.url).hostname, place.variable
    start = f"start it{f' ({place.start})' if place.start else ''}"
    match trouble:
        case Trouble.NO_HOST:
            return f"no host {host!r} is known here", f"correct the host's name in {variable}={url}"
        case Trouble.REFUSED:
            return f"nothing listens at {url}", f"{start}, or set {variable} to where it is"
        case Trouble.SILENT:
            cure = f"see whether {variable} names the right host and port, and whether a firewall is between"
            return f"{place.name} at {url} gives no answer in time", cure
        case Trouble.PLAIN:
            plain = url.replace("https://", "http://").replace("rediss://", "redis://")
            return f"{url} asks for TLS of a server that does not speak it", f"set {variable}={plain}"
        case Trouble.ENCRYPTED:
            encrypted = "https://" + url.removeprefix("http://")
            return f"{url} asks for plain HTTP of a server that speaks HTTPS", f"set {variable}={encrypted}"
        case Trouble.CERTIFICATE:
            cure = "name it by the host that its certificate is for, or have SSL_CERT_FILE name the authority's file"
            return f"TLS with {url} fails: its certificate is not trusted here", cure
        case Trouble.PASSWORD:
            cure = (
                f"put the right one into {variable}, as in redis://:PASSWORD@{host}:6379/0 (special characters as %XX)"
            )
            return f"{place.name} at {url} wants another password than {variable} has", cure
        case Trouble.FOREIGN:
            return f"what answers at {url} is not {place.name}", f"set {variable} to where {place.name} is"


def _at(url: str, host: str) -> str:
    """``url`` with another host."""
    parts = urlsplit(without_login(url))
    port = f":{parts.port}" if parts.port else ""
    return parts._replace(netloc=f"{host}{port}").geturl()
