"""``python -m prelabel.health serve`` or ``worker``: whether the one of this machine or container is alive.

For health checks, which run it over and over; so it stands apart from ``cli`` and loads little (0.3 s, not 2.5 s). Exit
status 0: alive; 1: not, and standard error says why. A backend is asked over HTTP. A worker cannot be asked anything,
but tells Redis every half minute that it is there, so the check also fails where the worker has lost Redis.
"""

import http.client
import socket
import sys

from prelabel.config import Settings
from prelabel.errors import PrelabelError

USAGE = "usage: python -m prelabel.health serve|worker"
TIMEOUT_S = 3.0
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with HOST, nothing listens here
"""Addresses that are listened at but cannot be called, and what to call instead."""


def main(arguments: list[str]) -> int:
    """The exit status: 0 alive, 1 not, 2 called wrongly."""
    checks = {"serve": backend_fault, "worker": worker_fault}
    if len(arguments) != 1 or arguments[0] not in checks:
        return _say(USAGE, status=2)
    try:
        fault = checks[arguments[0]](Settings.from_env())
    except PrelabelError as error:
        fault = str(error)
    return _say(fault, status=1) if fault else 0


def backend_fault(settings: Settings) -> str:
    """Why the backend does not answer; empty if it does."""
    # A connection of its own, past any proxy that the environment names.
    connection = http.client.HTTPConnection(
        ANYWHERE.get(settings.host, settings.host), settings.port, timeout=TIMEOUT_S
    )
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"the backend does not answer: {error!r}"
    finally:
        connection.close()
    return "" if status == http.client.OK else f"the backend answers {status}"


def worker_fault(settings: Settings) -> str:
    """Why the worker counts as dead; empty if it was heard of lately.

    :raises StoreUnavailable: Redis is away.
    """
    from prelabel.store.connection import connect_queue
    from prelabel.store.workers import SILENT_S, seconds_since_heard

    hostname = socket.gethostname()
    silent_s = seconds_since_heard(connect_queue(settings.redis_url), hostname)
    if silent_s is None:
        return f"no worker of {hostname} is registered in Redis"
    return f"the worker was last heard of {silent_s:.0f} s ago" if silent_s > SILENT_S else ""


def _say(text: str, *, status: int) -> int:
    sys.stderr.write(f"{text}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
