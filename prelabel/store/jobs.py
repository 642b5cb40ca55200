"""Slower work, left to workers through RQ: queued once however often it is asked for.

A job is named by a function of ``runs.jobs`` and gets texts only, which RQ carries as JSON: nothing is pickled.
"""

from collections.abc import Iterator
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

PAUSES_S = [2, 5, 20, 60]
"""Before each further try of a job that failed, for instance because Label Studio was restarting."""
TIMEOUT_S = 3600
RUN_TIMEOUT_S = 7 * 24 * 3600
QUEUE = "prelabel:"
"""What the name of every queue begins with; the Label Studio that it serves follows."""


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that was given up."""

    name: str
    """The function of ``runs.jobs``."""
    reason: str
    """The last line of its traceback."""


def kind_of(job: str, *arguments: str) -> str:
    """What is queued once: a run is itself, whatever other run of its project waits."""
    return f"bulk:{arguments[0]}" if job == "bulk" else job


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
        """Queue ``job``, unless one of its kind waits for this project already, or of a bulk run the same.

        One that has begun is not waiting: it may have passed what the new one is for.

        :raises StoreUnavailable: Redis is away.
        """
        kind = kind_of(job, *arguments)
        if not self._projects.claim_job(ref, kind):
            return
        try:
            with reaching_redis():
                self._queue.enqueue(
                    f"prelabel.runs.jobs.{job}",
                    str(ref),
                    *arguments,
                    retry=Retry(max=len(PAUSES_S), interval=PAUSES_S),
                    job_timeout=RUN_TIMEOUT_S if job == "bulk" else TIMEOUT_S,
                    result_ttl=0,
                    failure_ttl=7 * 24 * 3600,
                )
        except StoreUnavailable:
            self._projects.release_job(ref, kind)
            raise

    def has_worker(self) -> bool:
        """Whether any worker takes jobs from this queue now."""
        with reaching_redis():
            return bool(Worker.all(queue=self._queue))

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
