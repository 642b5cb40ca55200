"""How gunicorn serves prelabel; it reads this file by itself when started in this folder.

Threads, since requests wait for LLMs most of their time; the application is loaded before the fork, so processes share
its memory. A request may run for ``PREDICT_DEADLINE``; on a stop signal those in flight are let finish.
"""

import os
from typing import Any

from prelabel.config import Settings
from prelabel.errors import SettingsError
from prelabel.metrics import directory

try:
    _settings = Settings.from_env()
except SettingsError as error:
    raise SystemExit(f"Error: {error}") from None

bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
workers = _settings.workers
threads = _settings.threads
worker_class = "gthread"
preload_app = True
timeout = int(_settings.predict_deadline) + 30
graceful_timeout = int(_settings.predict_deadline) + 5
keepalive = 30
# Where workers show that they live: in memory, so that neither a slow disk nor a read-only one is in the way.
_MEMORY = "/dev/shm"  # noqa: S108 - gunicorn makes its own private files there
worker_tmp_dir = _MEMORY if os.access(_MEMORY, os.W_OK) else None
# Where they keep what they count, so that each can tell Prometheus of all.
raw_env = [f"{directory.VARIABLE}={directory.make(worker_tmp_dir)}"]
control_socket_disable = True  # nothing steers it, and it would want to write to HOME
loglevel = _settings.log_level.lower()


def on_starting(server: Any) -> None:
    """Called before anything is served; addresses may come from gunicorn's own ``--bind`` as well."""
    hosts = [address[0] for address in server.cfg.address if isinstance(address, tuple)]
    try:
        _settings.require_safe_listening(*hosts)
    except SettingsError as error:
        raise SystemExit(f"Error: {error}") from None


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """Called in the master when a worker has ended, however it did."""
    directory.mark_dead(worker.pid)
