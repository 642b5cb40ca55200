"""Builds everything once a process; production calls it bare, tests hand in settings.

Nothing here opens a connection: clients connect on first use, so a server may load the application and then fork.
"""

import logging
from dataclasses import dataclass
from functools import cache

import redis

from prelabel.config import Settings
from prelabel.connecting import Connecting
from prelabel.errors import StudioError
from prelabel.examples import Examples
from prelabel.labeling import Labeler
from prelabel.learning import Learning
from prelabel.llm.loop import LLM
from prelabel.service import Service
from prelabel.store import connection
from prelabel.store.annotations import Annotations
from prelabel.store.jobs import JobQueue
from prelabel.store.keys import Keys
from prelabel.store.projects import Projects
from prelabel.store.prompts import Prompts
from prelabel.store.runs import Runs
from prelabel.studio.client import StudioClient


@dataclass(frozen=True, slots=True)
class Services:
    """What the entry points (web, worker, shell) work with."""

    settings: Settings
    redis: redis.Redis
    llm: LLM
    projects: Projects
    prompts: Prompts
    annotations: Annotations
    runs: Runs
    labeler: Labeler
    jobs: JobQueue
    service: Service
    learning: Learning
    connecting: Connecting

    def studio(self, timeout_s: float = 30) -> StudioClient:
        """A client of the Label Studio that this backend serves.

        :raises StudioError: the settings name none.
        """
        key = self.settings.label_studio_api_key
        if not self.settings.label_studio_url or key is None:
            raise StudioError("Label Studio is not known", "set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY")
        return StudioClient(self.settings.label_studio_url, key.get_secret_value(), timeout_s)

    def close(self) -> None:
        """Hang up on everything; for those who build services more than once a process."""
        self.llm.close()
        self.jobs.close()
        self.redis.close()


@cache
def services() -> Services:
    """The process's services, by its environment.

    :raises SettingsError: a setting is wrong.
    """
    return build(Settings.from_env())


def build(settings: Settings) -> Services:
    """Services by ``settings``."""
    client = connection.connect(settings.redis_url)
    keys = Keys(settings.label_studio_url)
    projects, prompts, annotations = Projects(client, keys), Prompts(client, keys), Annotations(client, keys)
    jobs = JobQueue(connection.connect_queue(settings.redis_url), keys, projects)
    llm = LLM(settings.llm_concurrency)
    runs, labeler = Runs(client, keys), Labeler(Examples(annotations), llm)
    service = Service(settings, projects, labeler)
    learning = Learning(service, projects, prompts, annotations, runs, jobs)
    connecting = Connecting(settings, service, jobs)
    return Services(
        settings, client, llm, projects, prompts, annotations, runs, labeler, jobs, service, learning, connecting
    )


def configure_logging(settings: Settings) -> None:
    """Plain lines on standard error; the OpenAI client's and its transport's own stay out, for they log bodies."""
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
