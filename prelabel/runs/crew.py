"""The threads of one worker's turn at a run, each at a part of it that is held by a lease."""

import logging
from collections.abc import Callable
from threading import Lock, Thread

from prelabel.errors import StoreUnavailable
from prelabel.runs.lease import Leases
from prelabel.store.ledger import OTHER_PARTS, Claim, Lost
from prelabel.store.runs import NoRun

log = logging.getLogger(__name__)


class Halted(Exception):
    """Nothing more is to be begun."""


class Crew:
    """Used from the turn's own thread, but for what its threads do."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._lock = Lock()
        self._at: set[Claim] = set()
        self._failed: set[str] = set()
        self._errors: list[Exception] = []

    @property
    def size(self) -> int:
        with self._lock:
            return len(self._at)

    @property
    def shards(self) -> set[str]:
        """The shards that are worked at."""
        with self._lock:
            return {claim.part for claim in self._at} - OTHER_PARTS

    def has(self, part: str) -> bool:
        with self._lock:
            return any(claim.part == part for claim in self._at)

    def has_failed(self, part: str) -> bool:
        with self._lock:
            return part in self._failed

    def add(self, claim: Claim, do: Callable[[], None]) -> None:
        """Have a thread ``do`` what ``claim`` is about, and give it back."""
        with self._lock:
            self._at.add(claim)
        Thread(target=self._do, args=(claim, do), name=f"run-{claim.part}", daemon=True).start()

    def check(self) -> None:
        """:raises Exception: what has gone wrong in a thread since the last look."""
        with self._lock:
            errors, self._errors = self._errors, []
        for error in sorted(errors, key=lambda error: not isinstance(error, StoreUnavailable | NoRun)):
            raise error

    def _do(self, claim: Claim, do: Callable[[], None]) -> None:
        try:
            do()
        except Halted:
            pass
        except Lost:
            log.warning("somebody else is at %s by now", claim.part)
        except Exception as error:  # noqa: BLE001  it is raised again where it is looked for
            with self._lock:
                self._errors.append(error)
                self._failed.add(claim.part)
        finally:
            try:
                self._leases.give_back(claim)
            finally:  # whoever sees that nobody is at work may rely on what was given back
                with self._lock:
                    self._at.discard(claim)
