"""The names of all that is kept in Redis.

Keys begin with the layout's version and with the Label Studio they belong to, then name the project by its id and the
time it was made: a project id that Label Studio gives away again starts empty. No ticket text is ever part of a key.

============================================  =======  ==========================================================
key                                           type     holds
============================================  =======  ==========================================================
``prelabel:1:doctor``                         string   the doctor could write; some seconds
``prelabel:1:llm:capabilities:SERVER``        string   what an LLM's server with a model understands (JSON); a day
``prelabel:1:llm:cooldown:ACCOUNT``           string   a model that failed, so that others are tried first; minutes
``prelabel:1:limits:HASH``                    hash     of an LLM's server and key: when who may ask next, pauses and
                                                       limits learned; a day
``prelabel:1:limits:HASH:processes``          zset     processes that ask there by when they last did; a minute
``prelabel:1:answers:secret``                 string   under which the questions of kept answers are hashed
``prelabel:1:SITE:projects``                  hash     project id to the time it was made, as last heard
``prelabel:1:SITE:runs``                      zset     run id by the time it was asked for
``prelabel:1:SITE:going``                     hash     project id to the id of the run it has going
``prelabel:1:SITE:batching``                  set      ids of runs that have batches at a provider
``prelabel:1:SITE:run:ID``                    hash     a run: options, state, counts; it and all below expire 90
                                                       days after it has ended
``prelabel:1:SITE:run:ID:history``            list     what has happened to it, the last 50 (JSON)
``prelabel:1:SITE:run:ID:pace``               hash     tens of seconds of late to the tasks settled in them
``prelabel:1:SITE:run:ID:chosen``             list     ids of the tasks that it is about, if not all of the project's
``prelabel:1:SITE:run:ID:leases``             hash     part (a shard, ``plan``, ``batch``, ``write``) to when its
                                                       lease ends (ms) and who holds it
``prelabel:1:SITE:run:ID:fences``             hash     part to the token of its last holder
``prelabel:1:SITE:run:ID:shard:NUMBER``       hash     task id to what has become of it; see ``ledger``
``prelabel:1:SITE:run:ID:shards``             zset     shard by its first task's id
``prelabel:1:SITE:run:ID:open``               zset     shard by how many of its tasks wait
``prelabel:1:SITE:run:ID:unwritten``          zset     shard by how many of its answers are to be written
``prelabel:1:SITE:run:ID:failed``             zset     id of a failed task by its reason's number
``prelabel:1:SITE:run:ID:reasons``            hash     reason to its number
``prelabel:1:SITE:run:ID:comments``           hash     task id to the comment of an answer that is to be written
``prelabel:1:SITE:run:ID:drawn``              hash     slot to the task that is drawn for validation
``prelabel:1:SITE:run:ID:reserved``           hash     shard, or ``batch`` with or without a number, to the dollars
                                                       that its requests in flight may cost
``prelabel:1:SITE:run:ID:batches``            hash     number of a batch at the provider to its id there and how it
                                                       stands (JSON)
``prelabel:1:SITE:run:ID:places:NUMBER``      hash     request of a batch to the tasks that it is about
``prelabel:1:SITE:counts``                    hash     what workers have counted, by metric and labels (JSON)
``prelabel:1:SITE:levels``                    set      names of worker processes that have told of a level lately
``prelabel:1:SITE:levels:PROCESS``            string   the levels of one (JSON); some seconds
``prelabel:1:SITE:PROJECT:state``             hash     generation, prompt, title, backend_url
``prelabel:1:SITE:PROJECT:scorings``          hash     model version to its generation and what scores are made by
                                                       (JSON); of the last generation that has any
``prelabel:1:SITE:PROJECT:settings``          hash     the project's own settings, by name
``prelabel:1:SITE:PROJECT:prompts``           hash     prompt version to its text, author and time (JSON)
``prelabel:1:SITE:PROJECT:prompt-versions``   hash     hash of a prompt's text to its version
``prelabel:1:SITE:PROJECT:submissions``       hash     annotation id to the prompt version submitted with it
``prelabel:1:SITE:PROJECT:promotions``        list     prompt versions that were the project's, newest first
``prelabel:1:SITE:PROJECT:annotations``       hash     annotation id to what it says (JSON)
``prelabel:1:SITE:PROJECT:deleted``           set      annotation ids that Label Studio has deleted
``prelabel:1:SITE:PROJECT:changes``           zset     annotation id by the revision that last touched it
``prelabel:1:SITE:PROJECT:task:ID``           set      annotation ids of a task
``prelabel:1:SITE:PROJECT:revision``          string   counts changes of annotations
``prelabel:1:SITE:PROJECT:predicted:NUMBER``  hash     task id to what was last predicted for it; see ``predicted``
``prelabel:1:SITE:PROJECT:words``             hash     versions, controls and labels to the numbers that stand for them
``prelabel:1:SITE:PROJECT:live``              zset     task id by the time ``/predict`` answered it; some minutes
``prelabel:1:SITE:PROJECT:late``              set      tasks that ``/predict`` did not reach and that wait for a run;
                                                       30 days
``prelabel:1:SITE:PROJECT:version:NAME``      HLL      tasks that got a prediction of this model version
``prelabel:1:SITE:PROJECT:withheld``          set      tasks that are labelled without a suggestion
``prelabel:1:SITE:PROJECT:sealed:BASIS``       hash     withheld task id to what an LLM says of it; ``BASIS`` is what
                                                       its answers depend on; 90 days
``prelabel:1:SITE:PROJECT:bases``             set      all ``BASIS`` that there have been
``prelabel:1:SITE:PROJECT:answers:NUMBER``    hash     keyed hash of what was asked to the time and the answer; days
``prelabel:1:SITE:PROJECT:queued:JOB``        string   this job waits in the queue; expires
============================================  =======  ==========================================================
"""

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from prelabel.errors import RequestError

LAYOUT = "prelabel:1"
PROBE = f"{LAYOUT}:doctor"
LLM_MEMORY = f"{LAYOUT}:llm"
ANSWERS_SECRET = f"{LAYOUT}:answers:secret"
_UID = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,18}))?")


def limits_key(url: str, api_key: str) -> str:
    """The key of what an LLM's server allows to one API key, which stands in it as a hash only, like the server.

    Paths make no difference: providers limit accounts, not addresses.
    """
    host = (urlsplit(url).netloc.rpartition("@")[2]).lower()
    return f"{LAYOUT}:limits:{hashlib.sha256(f'{host} {api_key}'.encode()).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True)
class ProjectRef:
    """A project as Label Studio names it to backends: ``<id>.<time it was made, Unix seconds>``.

    ``created`` is 0 where it was not told; :meth:`prelabel.store.projects.Projects.resolve` then finds it.
    """

    id: int
    created: int = 0

    @classmethod
    def parse(cls, uid: object) -> "ProjectRef":
        """:raises RequestError: ``uid`` is no project as Label Studio writes it, such as ``"7.1795235920"``."""
        text = str(uid) if isinstance(uid, str | int) and not isinstance(uid, bool) else ""
        if not (match := _UID.fullmatch(text)):
            raise RequestError("project", f'project must be like "7.1795235920", got {str(uid)[:40]!r}')
        return cls(int(match[1]), int(match[2] or 0))

    def __str__(self) -> str:
        return f"{self.id}.{self.created}"


class Keys:
    """Redis keys of one Label Studio.

    :param studio_url: its address, may be empty where none is set.
    """

    def __init__(self, studio_url: str) -> None:
        parts = urlsplit(studio_url)
        host = parts.netloc.rpartition("@")[2].lower()  # a user and password in the address are nobody's business
        self.site = f"{host}{parts.path.rstrip('/')}" or "-"

    @property
    def projects(self) -> str:
        return f"{LAYOUT}:{self.site}:projects"

    @property
    def runs(self) -> str:
        return f"{LAYOUT}:{self.site}:runs"

    @property
    def going(self) -> str:
        return f"{LAYOUT}:{self.site}:going"

    @property
    def batching(self) -> str:
        return f"{LAYOUT}:{self.site}:batching"

    @property
    def counts(self) -> str:
        return f"{LAYOUT}:{self.site}:counts"

    def levels(self, *process: str) -> str:
        """The key of the processes that have told of levels, or of those of one."""
        return ":".join((LAYOUT, self.site, "levels", *process))

    def pattern(self, project: int) -> str:
        """What matches all keys of a project, in Redis's glob language."""
        site = re.sub(r"([\[\]*?\\])", r"\\\1", self.site)
        return f"{LAYOUT}:{site}:{project}.*"

    def run(self, run_id: str, *name: str) -> str:
        """The key of a run, or of what is kept under ``name`` for it."""
        return ":".join((LAYOUT, self.site, "run", run_id, *name))

    def of(self, project: ProjectRef, name: str) -> str:
        """The key of what is kept under ``name`` for ``project``."""
        return f"{LAYOUT}:{self.site}:{project}:{name}"
