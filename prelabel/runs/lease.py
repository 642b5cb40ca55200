"""The right to work on parts of a run, which one process has at a time and loses within seconds of its death.

A thread renews all leases of a process at a run. One that was frozen, and has lost a lease, finds out before it asks or
writes on: the ledger refuses what it would store, and :meth:`Leases.require` what cannot be refused so, an import.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread

from prelabel.errors import StoreUnavailable
from prelabel.store.ledger import LEASE_S, Claim, Ledger, Lost
from prelabel.store.runs import NoRun

log = logging.getLogger(__name__)

RENEWED_S = LEASE_S / 5


class Leases:
    """What one process holds of a run; used by several of its threads."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._ends: dict[Claim, float] = {}
        self._lock = Lock()
        self._over = Event()

    def take(self, part: str = "") -> Claim | None:
        """A part that nobody holds, by default a shard with waiting tasks."""
        asked = time.monotonic()
        claim = self._ledger.take(part)
        if claim:
            with self._lock:
                self._ends[claim] = asked + LEASE_S
        return claim

    def require(self, claim: Claim) -> None:
        """:raises Lost: it has expired, or nobody knows."""
        with self._lock:
            ends = self._ends.get(claim, 0.0)
        if time.monotonic() > ends:
            raise Lost

    def give_back(self, *claims: Claim) -> None:
        """Let others have these at once; where Redis is away, once they have expired."""
        with self._lock:
            for claim in claims:
                self._ends.pop(claim, None)
        with suppress(StoreUnavailable, NoRun):
            self._ledger.give_back(claims)

    def keep(self) -> None:
        """Renew all until :meth:`close`; for a thread of its own."""
        while not self._over.wait(RENEWED_S):
            with self._lock:
                claims = list(self._ends)
            if claims:
                self._renew(claims)

    def close(self) -> None:
        """Give back what is held."""
        self._over.set()
        with self._lock:
            claims = list(self._ends)
        self.give_back(*claims)

    def _renew(self, claims: Sequence[Claim]) -> None:
        asked = time.monotonic()
        try:
            held = self._ledger.renew(claims)
        except StoreUnavailable as error:
            log.warning("a run's leases could not be renewed: %s", error)
            return
        except NoRun:
            held = [False] * len(claims)
        with self._lock:
            for claim, is_held in zip(claims, held, strict=True):
                if claim in self._ends:
                    self._ends[claim] = asked + LEASE_S if is_held else 0.0


@contextmanager
def leasing(ledger: Ledger) -> Iterator[Leases]:
    """A process's leases for the time of the block."""
    leases = Leases(ledger)
    Thread(target=leases.keep, name="leases", daemon=True).start()
    try:
        yield leases
    finally:
        leases.close()
