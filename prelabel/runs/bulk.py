"""A bulk run: a project's tasks without a prediction of the current version, labelled and imported, each once.

Any number of workers take part in a run, each a turn at a time (``execute``, the RQ job; it has a timeout and retries).
A turn does whatever the run needs and nobody is at: it plans (``plan``), labels (``shard``, several shards at once, so
that as many requests are in flight at the end of one shard as in its middle), writes (``writing``, one process at a
time), looks after batches (``batch``; what is at the provider when the run is over is ``leftovers``'s) and, when all is
written, sees that each task has one prediction (``sweep``). All of it is a part of the run that
somebody holds for seconds at a time (``lease``), so that what a killed worker had in hand is soon another's; what was
answered is in the ledger by then, and is not asked again. As long as shards wait that nobody is at, each turn calls for
one more worker: a single job in the queue brings all idle workers in, one after another, and no job a shard is needed.

Read ``control`` for how a run is started, paused and ended.
"""

import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress

from prelabel.bootstrap import Services
from prelabel.errors import StoreRefuses, StoreUnavailable
from prelabel.runs import control
from prelabel.runs.lease import leasing
from prelabel.runs.leftovers import tidy
from prelabel.runs.outlasting import WITHIN_S, doubt_after_restart
from prelabel.runs.shard import LLM_PAUSES_S
from prelabel.runs.stopping import stopping
from prelabel.runs.turn import Turn, fail
from prelabel.store.connection import reaching_redis
from prelabel.store.keys import ProjectRef
from prelabel.store.ledger import holder
from prelabel.store.runs import NoRun

log = logging.getLogger(__name__)

TURN_S = 600.0
"""After so long a worker lets other jobs in the queue have a turn."""


def execute(work: Services, run_id: str, *, llm_pauses_s: Sequence[float] = LLM_PAUSES_S) -> None:
    """Take part in a run for as long as there is anything to do for one more worker.

    Whatever goes wrong ends it as failed, with the reason; only where Redis is away is that waited out, and the run
    left as it is where it takes too long. One that was forgotten is let go.

    :param llm_pauses_s: before each further try of tickets whose LLM did not answer.
    :raises StopWanted: the process is to stop; the run is left as it is, for the job is put back.
    """
    ends = time.monotonic() + TURN_S
    while True:
        try:
            while work.runs.begin(run_id):  # once more if what somebody has asked for was taken back
                doubt_after_restart(work, run_id)
                if _take_turn(work, run_id, ends, llm_pauses_s):
                    break
            tidy(work, run_id)
            _follow(work, run_id)
        except NoRun:
            log.info("run %s was forgotten", run_id)
        except StoreRefuses as error:  # it would refuse the next worker, too
            fail(work, run_id, error)
        except StoreUnavailable as reason:
            log.warning("run %s has to wait: %s", run_id, reason)
            if _is_back(work):
                with suppress(StoreUnavailable, NoRun):  # what could not be given back
                    work.runs.ledger(run_id).free(holder(os.getpid()))
                continue
        return


def _follow(work: Services, run_id: str) -> None:
    """Begin what waits for the end of a run; of one that somebody has cancelled, the project's next one does that."""
    run = work.runs.get(run_id)
    if run.state in {"succeeded", "failed"}:
        work.overflow.begin(work.projects.resolve(ProjectRef(run.options.project)))


def _is_back(work: Services) -> bool:
    """Whether Redis answers again before long.

    RQ ends a worker whose job is over while Redis is away, so that it is better waited for here.
    """
    ends = time.monotonic() + WITHIN_S
    while time.monotonic() < ends:
        with stopping.interruptible():
            time.sleep(1.0)
        with suppress(StoreUnavailable), reaching_redis():
            work.redis.ping()
            return True
    return False


def _take_turn(work: Services, run_id: str, ends: float, llm_pauses_s: Sequence[float]) -> bool:
    """Whether there is nothing more to do for this worker."""
    try:
        with leasing(work.runs.ledger(run_id)) as leases:
            try:
                Turn(work, run_id, leases, ends=ends, llm_pauses_s=llm_pauses_s).take()
            except (NoRun, StoreUnavailable):
                raise
            except Exception as error:  # noqa: BLE001  the last guard of the job: taken up again, it would fail again
                fail(work, run_id, error)
    finally:
        with suppress(StoreUnavailable, NoRun):
            work.runs.leave(run_id)
    left = work.runs.get(run_id)
    if left.state != "running" or left.wanted or not control.wants_more(work, left):
        return True
    control.call_for_more(work, left)
    return time.monotonic() > ends
