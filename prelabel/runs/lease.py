"""The right to work on a run, which one process has at a time and loses within seconds of its death.

A lock in Redis that expires, and a thread that keeps it from expiring. A process that was frozen and has lost its lease
finds out before it writes, since another may have taken the run up.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from redis.exceptions import LockError
from redis.lock import Lock

from prelabel.errors import StoreUnavailable
from prelabel.store.connection import reaching_redis
from prelabel.store.runs import LEASE_S, Runs

log = logging.getLogger(__name__)

RENEWED_S = LEASE_S / 5
PATIENCE_S = LEASE_S + 5.0
"""How long a run's lease is waited for: a dead holder's has expired by then."""


class LeaseLost(Exception):
    """Somebody else may be working on the run by now."""


class Lease:
    """A lease that is held."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._ends = time.monotonic() + LEASE_S
        self._over = Event()

    def require(self) -> None:
        """:raises LeaseLost: it has expired, or nobody knows."""
        if time.monotonic() > self._ends:
            raise LeaseLost

    def keep(self) -> None:
        """Renew it until it is given back or lost; for a thread of its own."""
        while not self._over.wait(RENEWED_S):
            asked = time.monotonic()
            try:
                with reaching_redis():
                    self._lock.reacquire()
            except LockError:
                self._ends = asked
                return
            except StoreUnavailable as error:
                log.warning("a run's lease could not be renewed: %s", error)
                continue
            self._ends = asked + LEASE_S

    def give_back(self) -> None:
        self._over.set()
        try:
            with reaching_redis():
                self._lock.release()
        except (LockError, StoreUnavailable):  # it expires
            log.info("a run's lease was gone before it was given back")


@contextmanager
def leased(runs: Runs, run_id: str) -> Iterator[Lease | None]:
    """A run's lease for the time of the block; None if somebody else keeps it.

    :raises StoreUnavailable: Redis is away.
    """
    lock = runs.lock(run_id)
    with reaching_redis():
        is_held = lock.acquire(blocking_timeout=PATIENCE_S)
    if not is_held:
        yield None
        return
    lease = Lease(lock)
    Thread(target=lease.keep, name=f"lease-{run_id}", daemon=True).start()
    try:
        yield lease
    finally:
        lease.give_back()
