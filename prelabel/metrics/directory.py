"""Where gunicorn's workers keep what they have counted: a directory of files, one or two for each process.

Made anew, and so empty, once for each master; gone when it ends. What a worker has counted outlives it. In memory where
that can be, since neither a slow disk nor a read-only one is to be in the way; a worker's files take some kilobytes.
"""

import atexit
import os
import shutil
import tempfile
from functools import cache

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""By which prometheus-client finds it; to be set before that is imported."""


@cache  # one however often gunicorn reads its configuration, which it does again on SIGHUP
def make(parent: str | None) -> str:
    """The path of a new directory that only this user may enter.

    :param parent: where to make it; None for wherever temporary files go.
    """
    path = tempfile.mkdtemp(prefix="prelabel-metrics-", dir=parent)
    atexit.register(_remove, path, os.getpid())
    return path


def mark_dead(pid: int) -> None:
    """A worker has ended: what it was just doing does not count any more, what it has done does."""
    from prometheus_client.multiprocess import mark_process_dead  # late: its import looks for the variable

    mark_process_dead(pid)  # type: ignore[no-untyped-call] # it has no types


def _remove(path: str, master: int) -> None:
    if os.getpid() == master:  # its forked workers run this, too
        shutil.rmtree(path, ignore_errors=True)
