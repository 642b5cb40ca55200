"""Slower work, left to workers through RQ: queued once however often it is asked for.

A job is named by a function of ``runs.jobs`` and gets texts only, which RQ carries as JSON: nothing is pickled.
"""

import redis
from rq import Queue, Retry, Worker
from rq.serializers import JSONSerializer

from prelabel.errors import StoreUnavailable
from prelabel.store.connection import reaching_redis
from prelabel.store.keys import Keys, ProjectRef
from prelabel.store.projects import Projects

PAUSES_S = [2, 5, 20, 60]
"""Before each further try of a job that failed, for instance because Label Studio was restarting."""
TIMEOUT_S = 3600
RUN_TIMEOUT_S = 7 * 24 * 3600


class JobQueue:
    """Where jobs wait for a worker.

    :param client: a connection of RQ's own kind, which must not decode replies.
    """

    def __init__(self, client: redis.Redis, keys: Keys, projects: Projects) -> None:
        self.name = f"prelabel:{keys.site}"
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
            self._projects.release_job(ref, job)
            raise

    def has_worker(self) -> bool:
        """Whether any worker takes jobs from this queue now."""
        with reaching_redis():
            return bool(Worker.all(queue=self._queue))

    def close(self) -> None:
        """Hang up on Redis."""
        self._client.close()
