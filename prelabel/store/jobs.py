"""Slower work, left to workers through RQ: queued once however often it is asked for.

A job is named by a function of ``runs.jobs`` and gets texts only, which RQ carries as JSON: nothing is pickled.
"""

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import redis
from rq import Queue, Retry, Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from prelabel.errors import StoreUnavailable
from prelabel.store.connection import reaching_redis
from prelabel.store.keys import Keys, ProjectRef
from prelabel.store.projects import Projects
from prelabel.store.workers import heard_of_lately

PAUSES_S = [2, 5, 20, 60]
"""Before each further try of a job that failed, for instance because Label Studio was restarting."""
TIMEOUT_S = 3600
TURN_TIMEOUT_S = 2 * 3600
"""For a worker's turn at a bulk run, which ends by itself long before."""
QUEUE = "prelabel:"
"""What the name of every queue begins with; the Label Studio that it serves follows."""


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that was given up."""

    name: str
    """The function of ``runs.jobs``."""
    reason: str
    """The last line of its traceback."""


@dataclass(frozen=True, slots=True)
class Queued:
    """The queue at one moment."""

    jobs: Mapping[str, int]
    """``waiting``, ``started``, ``scheduled`` (to be tried again), ``failed`` (given up in the last week)."""
    workers: Mapping[str, int]
    """``busy``, ``idle``."""


class JobQueue:
    """Where jobs wait for a worker.

    :param client: a connection of RQ's own kind, which must not decode replies.
    """

    def __init__(self, client: redis.Redis, keys: Keys, projects: Projects) -> None:
        self.name = f"{QUEUE}{keys.site}"
        self._client = client
        self._queue = Queue(self.name, connection=client, serializer=JSONSerializer)
        self._projects = projects

    def put(self, job: str, ref: ProjectRef, *arguments: str) -> None:
        """Queue ``job``, unless one of its kind waits for this project already.

        One that has begun is not waiting: it may have passed what the new one is for.

        :raises StoreUnavailable: Redis is away.
        """
        if not self._projects.claim_job(ref, job):
            return
        try:
            self._enqueue(job, str(ref), *arguments)
        except StoreUnavailable:
            self._projects.release_job(ref, job)
            raise

    def put_turn(self, ref: ProjectRef, run_id: str) -> None:
        """Queue a worker's turn at a bulk run, unless one waits in the queue already.

        The queue itself is looked at, so that nothing that Redis has lost or kept stands in the way.

        :raises StoreUnavailable: Redis is away.
        """
        prefix = f"bulk-{hashlib.sha256(run_id.encode()).hexdigest()[:16]}-"
        with reaching_redis():
            is_queued = any(job_id.startswith(prefix) for job_id in self._queue.get_job_ids())
        if not is_queued:
            name = f"{prefix}{secrets.token_hex(4)}"
            self._enqueue("bulk", str(ref), run_id, job_id=name, job_timeout=TURN_TIMEOUT_S)

    def _enqueue(self, job: str, *arguments: str, job_id: str | None = None, job_timeout: int = TIMEOUT_S) -> None:
        with reaching_redis():
            self._queue.enqueue(
                f"prelabel.runs.jobs.{job}",
                *arguments,
                job_id=job_id,
                retry=Retry(max=len(PAUSES_S), interval=PAUSES_S),
                job_timeout=job_timeout,
                result_ttl=0,
                failure_ttl=7 * 24 * 3600,
            )

    def has_worker(self) -> bool:
        """Whether any worker takes jobs from this queue now."""
        with reaching_redis():
            return bool(Worker.all(queue=self._queue))

    def queued(self) -> Queued:
        """How many jobs there are, and workers that take them; none is tidied up for it.

        :raises StoreUnavailable: Redis is away.
        """
        queue = self._queue
        with reaching_redis():
            pipe = self._client.pipeline(transaction=False)
            pipe.llen(queue.key)
            pipe.zcard(queue.started_job_registry.key)
            pipe.zcard(queue.scheduled_job_registry.key)
            pipe.zcard(queue.failed_job_registry.key)
            waiting, started, scheduled, failed = pipe.execute()
        jobs = {"waiting": waiting, "started": started, "scheduled": scheduled, "failed": failed}
        return Queued(jobs, heard_of_lately(queue))

    def other_queues(self) -> set[str]:
        """The addresses of other Label Studios, without their scheme, for which workers run here."""
        with reaching_redis():
            names = {name for worker in Worker.all(connection=self._client) for name in worker.queue_names()}
        return {name.removeprefix(QUEUE) for name in names - {self.name} if name.startswith(QUEUE)}

    def failed(self) -> list[FailedJob]:
        """The jobs that were given up in the last week, the newest last."""
        with reaching_redis():
            return list(self._read_failed())

    def _read_failed(self) -> Iterator[FailedJob]:
        for job_id in self._queue.failed_job_registry.get_job_ids():
            try:
                job = Job.fetch(job_id, connection=self._client, serializer=JSONSerializer)
            except NoSuchJobError:  # it has just expired
                continue
            result = job.latest_result()
            lines = (result.exc_string or "").strip().splitlines() if result else []
            yield FailedJob(
                str(job.func_name).rpartition(".")[2], lines[-1].strip() if lines else "no traceback is kept"
            )

    def close(self) -> None:
        """Hang up on Redis."""
        self._client.close()
