"""Builds everything once a process; production calls it bare, tests hand in settings.

Nothing here opens a connection: clients connect on first use, so a server may load the application and then fork.
"""

import logging
from dataclasses import dataclass
from functools import cache, partial

import redis

from prelabel.answering import AnswersOf
from prelabel.config import Settings
from prelabel.connecting import Connecting
from prelabel.errors import StudioError
from prelabel.evidence import Evidence
from prelabel.guidance.notes import Guidance
from prelabel.guidance.rules import RuleSource
from prelabel.hearing import Hearings
from prelabel.labeling import Labeler
from prelabel.learning import Learning
from prelabel.llm.budget import OwnBudget, SharedBudget
from prelabel.llm.endpoint import Endpoint
from prelabel.llm.limits import KeyLimits
from prelabel.llm.loop import LLM, rates_of
from prelabel.metrics.measures import CountedAnswers, Measures
from prelabel.overflow import Overflow
from prelabel.reviews.source import Reviews
from prelabel.service import Service
from prelabel.store import connection
from prelabel.store.annotations import Annotations
from prelabel.store.answers import AnswerCache
from prelabel.store.counts import Counts
from prelabel.store.jobs import JobQueue
from prelabel.store.keys import Keys, limits_key
from prelabel.store.limits import RedisBudget
from prelabel.store.llm_memory import LLMMemory
from prelabel.store.projects import Projects
from prelabel.store.prompts import Prompts
from prelabel.store.runs import Runs
from prelabel.store.sealed import Sealed
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
    evidence: Evidence
    jobs: JobQueue
    service: Service
    overflow: Overflow
    learning: Learning
    connecting: Connecting
    measures: Measures
    counts: Counts

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
def services(*, is_worker: bool = False) -> Services:
    """The process's services, by its environment.

    :param is_worker: it does jobs and answers nobody, so that bulk work may have all of its requests in flight.
    :raises SettingsError: a setting is wrong.
    """
    return build(Settings.from_env(), is_worker=is_worker)


def build(settings: Settings, *, is_worker: bool = False) -> Services:
    """Services by ``settings``.

    :raises SettingsError: a file that they name cannot be used.
    """
    guidance = Guidance()
    guidance.check(settings)
    rules = RuleSource()
    rules.check(settings)
    client = connection.connect(settings.redis_url)
    keys = Keys(settings.label_studio_url)
    projects, prompts, annotations = Projects(client, keys), Prompts(client, keys), Annotations(client, keys)
    jobs = JobQueue(connection.connect_queue(settings.redis_url), keys, projects)
    measures = Measures()
    llm = LLM(
        settings.llm_concurrency, LLMMemory(client), partial(_limits, settings, measures, not is_worker), measures
    )
    runs = Runs(client, keys)
    answers_of = _answers(settings, client, keys, measures)
    reviews = Reviews(annotations)
    hearings = Hearings(reviews, rules)
    labeler = Labeler(hearings, llm, notes=guidance, answers_of=answers_of)
    overflow = Overflow(runs, jobs, projects)
    service = Service(settings, projects, labeler, measures, overflow if settings.predict_overflow == "run" else None)
    learning = Learning(service, projects, prompts, annotations, runs, jobs)
    connecting = Connecting(settings, service, jobs)
    return Services(
        settings=settings,
        redis=client,
        llm=llm,
        projects=projects,
        prompts=prompts,
        annotations=annotations,
        runs=runs,
        labeler=labeler,
        evidence=Evidence(projects, reviews, rules, hearings, labeler, Sealed(client, keys)),
        jobs=jobs,
        service=service,
        overflow=overflow,
        learning=learning,
        connecting=connecting,
        measures=measures,
        counts=Counts(client, keys),
    )


def _answers(settings: Settings, client: redis.Redis, keys: Keys, measures: Measures) -> AnswersOf | None:
    """Where a project's answers are kept; None if they are not."""
    if not settings.answer_cache_days:
        return None
    cache = AnswerCache(client, keys, days=settings.answer_cache_days, size=settings.answer_cache_size)
    return lambda ref: CountedAnswers(cache.of(ref), measures)


def _limits(settings: Settings, measures: Measures, is_awaited: bool, endpoint: Endpoint) -> KeyLimits:
    """What one key of one server allows, to all processes together."""
    rates = rates_of(settings, endpoint)
    key = limits_key(endpoint.base_url, endpoint.key)
    budget = SharedBudget(RedisBudget(settings.redis_url, key, rates), OwnBudget(rates), settings.workers)
    return KeyLimits(settings.llm_concurrency, budget, meter=measures, is_awaited=is_awaited)


def configure_logging(settings: Settings) -> None:
    """Plain lines on standard error; the OpenAI client's and its transport's own stay out, for they log bodies."""
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
