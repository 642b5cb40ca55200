"""What a run has at a provider when it is over: read if that is of use, and removed, by whoever comes by.

A cancelled run's batches are cancelled there; a failed one's end by themselves, for it may be tried again. Either way
what they answered is kept for whoever asks the same, or tries the run again. Where the project's version is another by
now, or the project is gone, it is of no use. Nothing is written to Label Studio, where another run may be on.
"""

import logging
import time

from prelabel.bootstrap import Services
from prelabel.config import Settings
from prelabel.errors import LabelConfigError, PrelabelError, StoreUnavailable, StudioError
from prelabel.runs.batch import pause_s
from prelabel.runs.batch_finding import Finder, wind_up
from prelabel.runs.batch_reading import BatchReader
from prelabel.runs.lease import Leases, leasing
from prelabel.runs.opened import Moved, OpenRun, open_run
from prelabel.runs.provider import Provider
from prelabel.store.keys import ProjectRef
from prelabel.store.ledger import BATCH, Claim, Lost
from prelabel.store.run import ENDED, Run
from prelabel.store.runs import NoRun

log = logging.getLogger(__name__)

LOOK_S = 0.5


def is_due(run: Run) -> bool:
    """Whether there is anything to do about a run that has batches at a provider."""
    return run.state in ENDED and run.poll_at <= time.time()


def tidy(work: Services, run_id: str) -> None:
    """See to what an ended run has at the provider, as far as that goes without waiting.

    :raises StoreUnavailable: Redis is away.
    :raises NoRun: the run was forgotten.
    """
    run, kept = work.runs.get(run_id), work.runs.batches(run_id)
    if not (is_due(run) if kept.all() else run.state in {"failed", "canceled"} and _may_have_strays(run)):
        return
    with leasing(work.runs.ledger(run_id)) as leases:
        if not (claim := leases.take(BATCH)):
            return
        try:
            _tidy(work, run, leases, claim)
        except Lost:
            return
        except (StoreUnavailable, NoRun):
            raise
        except PrelabelError as error:
            log.warning("run %s: what it has at the provider stays for now: %s", run_id, error)
        if left := kept.all():
            log.info("run %s: %d batches are left at the provider", run_id, len(left))
            work.runs.update(run_id, poll_at=time.time() + pause_s(kept))


def remove(work: Services, run: Run, *, within_s: float) -> bool:
    """Remove all that a run has at the provider, unread; whether it is gone.

    What the provider does not let go of, because the key is not what it was or it is away, it deletes itself within
    30 days, if it is asked to when files are stored (``llm.batch_api``: Azure is not always).
    """
    kept = work.runs.batches(run.id)
    if not kept.all() and not _may_have_strays(run):
        return True
    latest = time.monotonic() + within_s
    with leasing(work.runs.ledger(run.id)) as leases:
        while True:
            if claim := leases.take(BATCH):
                finder = Finder(Provider(work, _settings(work, run)), kept, claim)
                is_gone = wind_up(finder, finder.remove, cancels=True) and not _has_strays(finder, run)
                leases.give_back(claim)
                if is_gone or finder.is_away or finder.failed.issuperset(kept.all()):
                    return True
            if time.monotonic() > latest:
                return False
            time.sleep(LOOK_S)


def _may_have_strays(run: Run) -> bool:
    """Whether it can have batches of which Redis does not know: it was killed, and has lost the last second."""
    return run.options.mode == "batch" and not run.options.dry_run and bool(run.started_at)


def _has_strays(finder: Finder, run: Run) -> bool:
    """False, too, where the provider does not tell: nobody is kept waiting for what may not be there."""
    try:
        return _may_have_strays(run) and finder.has_strays(run)
    except PrelabelError as error:
        log.warning("run %s: whether the provider has more of it is not known: %s", run.id, error)
        return False


def _tidy(work: Services, run: Run, leases: Leases, claim: Claim) -> None:
    """:raises PrelabelError: Label Studio does not say how the project is."""
    kept = work.runs.batches(run.id)
    opened = _opened(work, run, leases) if kept.all() else None
    if opened:
        reader = BatchReader(opened, kept, claim, pause=time.sleep)
        finder = reader.finder
        is_gone = wind_up(finder, reader.close, cancels=run.state == "canceled")
    else:
        finder = Finder(Provider(work, _settings(work, run)), kept, claim)
        is_gone = wind_up(finder, finder.remove, cancels=True)
    if is_gone and finder.has_strays(run):
        wind_up(finder, finder.remove, cancels=True)


def _opened(work: Services, run: Run, leases: Leases) -> OpenRun | None:
    """None where answers are of no use any more: the project is gone, or its version another."""
    try:
        return open_run(work, work.studio(), run.id, leases, wait=lambda: time.sleep(LOOK_S))
    except (Moved, LabelConfigError):
        return None
    except StudioError as error:
        if error.status == 404:
            return None
        raise


def _settings(work: Services, run: Run) -> Settings:
    """Those of the run's project, by which the provider is reached."""
    ref = work.projects.resolve(ProjectRef(run.options.project))
    return work.settings.with_overrides(work.projects.state(ref).settings)
