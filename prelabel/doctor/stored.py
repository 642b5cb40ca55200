"""Redis, and the workers that take their jobs from it."""

from collections import Counter

from prelabel.address import without_login
from prelabel.bootstrap import Services
from prelabel.doctor.cures import Place, unreachable
from prelabel.doctor.findings import Checking, failed, ok, warning
from prelabel.store.health import NEEDED, Health, Unreachable, examine

CHECK = "redis"


def check_redis(work: Services, *, in_container: bool) -> Checking:
    """Whether it answers, and whether what is kept there stays."""
    url = work.settings.redis_url
    try:
        health = examine(work.redis)
    except Unreachable as error:
        if error.trouble is None:
            yield failed(CHECK, f"{without_login(url)}: {error}", "correct REDIS_URL, or see Redis's log")
        else:
            place = Place("Redis", "REDIS_URL", url, "redis-server --appendonly yes", "redis")
            yield failed(CHECK, *unreachable(place, error.trouble, in_container=in_container))
        return "Redis cannot be asked"
    version = ".".join(map(str, health.version))
    if health.version < NEEDED:
        yield failed(CHECK, f"it is Redis {version}", f"use {'.'.join(map(str, NEEDED))} or later")
        return "Redis is too old"
    if health.refusal:
        cure = "see Redis's log: its disk or memory is full, it is a replica, or the user in REDIS_URL may not write"
        yield failed(CHECK, f"it takes no writes ({health.refusal})", cure)
        return "Redis takes no writes"
    yield ok(CHECK, f"Redis {version} at {without_login(url)}")
    yield from _check_keeping(health)
    return ""


def check_workers(work: Services) -> Checking:
    """Whether what the backend queues is done, and done well."""
    if work.jobs.has_worker():
        yield ok("workers", "one is running at least")
    else:
        others = ", ".join(sorted(work.jobs.other_queues()))
        told = f"some run, but for another LABEL_STUDIO_URL ({others})" if others else "none is running"
        cure = "start one with the same settings: python -m prelabel worker"
        yield failed("workers", f"{told}: reviews are not learnt, runs wait, new projects stay half connected", cure)
    if not (jobs := work.jobs.failed()):
        yield ok("jobs", "none has failed")
        return ""
    counts = ", ".join(f"{count} {name}" for name, count in Counter(job.name for job in jobs).items())
    yield warning(
        "jobs",
        f"failed in the last week: {counts}; the newest by {jobs[-1].reason}",
        "remove the cause; 'connect' and 'run' do again what was left undone",
    )
    return ""


def _check_keeping(health: Health) -> Checking:
    if health.is_persistent is False:
        cure = "start it with --appendonly yes and a volume for its data"
        yield warning("redis memory", "it keeps nothing over a restart, prompts and reviews are lost with it", cure)
    if health.evicts:
        cure = "start it with --maxmemory-policy noeviction, or give prelabel a Redis of its own"
        yield warning("redis memory", f"it drops keys when memory is full ({health.evicts})", cure)
    if health.is_persistent and not health.evicts:
        yield ok("redis memory", "what is kept there outlives a restart")
    return ""
