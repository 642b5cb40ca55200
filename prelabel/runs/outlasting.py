"""What must not be lost although Redis is away for a moment: an answer that was paid for, an import that was made.

A Redis that was killed may come back without its last second.
"""

import time
from collections.abc import Callable
from contextlib import suppress

from prelabel.bootstrap import Services
from prelabel.errors import StoreRefuses, StoreUnavailable
from prelabel.store.connection import reaching_redis

WITHIN_S = 120.0
"""For as long a turn that is broken off waits for its threads."""
LOOK_S = 0.2
"""Short, so that whoever holds a part of a run is there before another who would take it."""


def outlasting_redis(do: Callable[[], None], within_s: float = WITHIN_S) -> None:
    """Do something that can be done again, once Redis answers.

    :raises StoreUnavailable: it does not before long, or it refuses.
    """
    ends = time.monotonic() + within_s
    while True:
        try:
            do()
        except StoreRefuses:
            raise
        except StoreUnavailable:
            if time.monotonic() > ends:
                raise
            time.sleep(LOOK_S)
        else:
            return


def doubt_after_restart(work: Services, run_id: str) -> None:
    """Where Redis was started anew since a worker last was at the run, nobody knows what was imported: it is looked at.

    :raises NoRun: the run was forgotten.
    :raises StoreUnavailable: Redis is away.
    """
    server = ""
    with suppress(StoreRefuses), reaching_redis():  # some accounts may not ask
        server = str(work.redis.info("server").get("run_id", ""))
    known = work.runs.get(run_id).redis_server
    if server != known:
        doubt = {"writing_since": time.time()} if known else {}
        work.runs.update(run_id, redis_server=server, **doubt)
