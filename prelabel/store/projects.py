"""What is known of a project: its generation, its prompt, its own settings, and what was predicted for its tasks."""

import json
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from prelabel.core.types import Prediction, Prompt
from prelabel.store.connection import reaching_redis
from prelabel.store.keys import Keys, ProjectRef
from prelabel.store.predicted import bucket, new_words, packed, unpacked

VERSION_KEPT_S = 90 * 24 * 3600
"""How long the count of a version's predictions is kept after the last of them."""
LIVE_S = 120
"""Seconds after ``/predict`` for which a bulk run leaves a task alone: Label Studio may still be storing the answer."""
LATE_FOR_S = 30 * 24 * 3600
"""How long tasks wait for a run about them, since the last of them came."""
QUEUED_FOR_S = 600
"""How long a job counts as waiting if no worker ever takes it."""


@dataclass(frozen=True, slots=True)
class ProjectState:
    """A project at one moment."""

    ref: ProjectRef
    generation: int = 1
    prompt: Prompt | None = None
    """The promoted prompt, None while the settings' default holds."""
    settings: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    """The ML backend's title in Label Studio, as last set; empty while the project is not connected."""
    backend_url: str = ""
    own_user: int | None = None
    """The id of the Label Studio user whose token prelabel uses, where it has met it."""
    scorings: Mapping[str, str] = field(default_factory=dict)
    """What scores are made by (``quality.scoring``), by model version; none of a version without evidence for it."""
    withheld: frozenset[int] = frozenset()
    """Tasks that get no prediction."""


class Projects:
    """The projects of one Label Studio, in Redis."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys

    def resolve(self, ref: ProjectRef) -> ProjectRef:
        """``ref`` with the time its project was made, as it was last heard."""
        if ref.created:
            return ref
        with reaching_redis():
            return ProjectRef(ref.id, int(self._text(self._redis.hget(self._keys.projects, str(ref.id))) or 0))

    def state(self, ref: ProjectRef) -> ProjectState:
        """The project now; the time it was made is remembered for callers that do not know it."""
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hgetall(self._keys.of(ref, "state"))
            pipe.hgetall(self._keys.of(ref, "settings"))
            pipe.smembers(self._keys.of(ref, "withheld"))
            pipe.hgetall(self._keys.of(ref, "scorings"))
            if ref.created:
                pipe.hset(self._keys.projects, str(ref.id), ref.created)
            kept, settings, withheld, scorings, *_ = pipe.execute()
            version = int(kept.get("prompt", 0))
            stored = self._text(self._redis.hget(self._keys.of(ref, "prompts"), str(version))) if version else ""
        prompt = Prompt(version, json.loads(stored)["text"]) if stored else None
        return ProjectState(
            ref,
            generation=int(kept.get("generation", 1)),
            prompt=prompt,
            settings=settings,
            title=kept.get("title", ""),
            backend_url=kept.get("backend_url", ""),
            own_user=int(kept["own_user"]) if "own_user" in kept else None,
            scorings={version: text.partition(" ")[2] for version, text in scorings.items()},
            withheld=frozenset(map(int, withheld)),
        )

    def titles(self) -> list[str]:
        """The titles of all connected projects' ML backends, which are their current model versions."""
        with reaching_redis():
            projects: Any = self._redis.hgetall(self._keys.projects)
            pipe = self._redis.pipeline(transaction=False)
            for number, created in projects.items():
                pipe.hget(self._keys.of(ProjectRef(int(number), int(created)), "state"), "title")
            return sorted({title for title in pipe.execute() if title})

    def known(self) -> list[ProjectRef]:
        """All projects that have ever been met."""
        with reaching_redis():
            found: Any = self._redis.hgetall(self._keys.projects)
        return [ProjectRef(int(number), int(created)) for number, created in found.items()]

    def forget(self, project: int) -> int:
        """Remove every key of a project, of all that ever had its id; returns how many there were."""
        removed = 0
        with reaching_redis():
            for key in self._redis.scan_iter(match=self._keys.pattern(project), count=1000):
                removed += int(self._redis.delete(key))
            self._redis.hdel(self._keys.projects, str(project))
        return removed

    def begin_generation(self, ref: ProjectRef) -> int:
        """Move the model version on; returns the new generation's number."""
        with reaching_redis():
            key = self._keys.of(ref, "state")
            self._redis.hsetnx(key, "generation", 1)
            return int(self._redis.hincrby(key, "generation", 1))

    def reach_generation(self, ref: ProjectRef, number: int) -> None:
        """Move the model version on to this generation, unless it is there or beyond."""
        key = self._keys.of(ref, "state")

        def reach(pipe: redis.client.Pipeline) -> None:
            known: Any = pipe.hget(key, "generation")
            pipe.multi()
            if int(known or 1) < number:
                pipe.hset(key, "generation", number)

        with reaching_redis():
            self._redis.transaction(reach, key)

    def freeze_scoring(self, state: ProjectState, version: str, scoring: str, *, anew: bool = True) -> bool:
        """What scores are made by, whenever ``version`` is the project's; other versions of its generation keep theirs.

        False, and nothing is kept, if its generation, prompt or settings have moved since ``state``: whoever fits for
        a while must not put an old version's scoring in the place of a new one's.

        :param anew: in the place of what they are made by so far; else that stays.
        """
        key, own = self._keys.of(state.ref, "state"), self._keys.of(state.ref, "settings")
        scorings, mark = self._keys.of(state.ref, "scorings"), f"{state.generation} "

        def freeze(pipe: redis.client.Pipeline) -> bool:
            generation, prompt = pipe.hmget(key, ["generation", "prompt"])
            settings: Any = pipe.hgetall(own)
            known: Any = pipe.hgetall(scorings)
            past = [each for each, text in known.items() if not text.startswith(mark)]
            is_same = settings == dict(state.settings) and int(generation or 1) == state.generation
            is_same = is_same and int(prompt or 0) == (state.prompt.version if state.prompt else 0)
            pipe.multi()
            if is_same:
                if past:
                    pipe.hdel(scorings, *past)
                if anew or not known.get(version, "").startswith(mark):
                    pipe.hset(scorings, version, mark + scoring)
            return is_same

        with reaching_redis():  # its types know of no value that is handed on
            return bool(self._redis.transaction(freeze, key, own, scorings, value_from_callable=True))  # type: ignore[arg-type]

    def set_settings(self, ref: ProjectRef, values: Mapping[str, str]) -> None:
        """Add to the project's own settings; an empty value takes the setting back to the environment's."""
        key = self._keys.of(ref, "settings")
        with reaching_redis():
            for name, value in values.items():
                if value:
                    self._redis.hset(key, name, value)
                else:
                    self._redis.hdel(key, name)

    def set_connected(self, ref: ProjectRef, *, title: str, backend_url: str, own_user: int) -> None:
        """Remember how the project is connected: see :class:`ProjectState`."""
        state: dict[Any, Any] = {"title": title, "backend_url": backend_url, "own_user": own_user}
        with reaching_redis():
            self._redis.hset(self._keys.of(ref, "state"), mapping=state)

    def keep_predictions(
        self, ref: ProjectRef, version: str, predictions: Mapping[int, Prediction], *, run_id: str = ""
    ) -> None:
        """Remember what was predicted last for each task, and that it has a prediction of ``version``.

        :param run_id: the bulk run that predicted; nothing is kept where it was forgotten meanwhile.
        """
        if not predictions:
            return
        words_key, run = self._keys.of(ref, "words"), self._keys.run(run_id) if run_id else ""
        buckets: dict[int, dict[int, Prediction]] = defaultdict(dict)
        for task, said in predictions.items():
            buckets[bucket(task)][task] = said

        def keep(pipe: redis.client.Pipeline) -> None:
            is_forgotten = run and not pipe.exists(run)
            known: Any = pipe.hgetall(words_key)
            pipe.multi()
            if is_forgotten:
                return
            new: dict[Any, Any] = new_words(predictions.values(), known)
            if new:
                pipe.hset(words_key, mapping=new)
            numbers = {word: int(number) for word, number in known.items()} | new
            for number, tasks in buckets.items():
                texts: dict[Any, Any] = {str(task): packed(said, numbers) for task, said in tasks.items()}
                pipe.hset(self._keys.of(ref, f"predicted:{number}"), mapping=texts)
            pipe.pfadd(self._keys.of(ref, f"version:{version}"), *map(str, predictions))
            pipe.expire(self._keys.of(ref, f"version:{version}"), VERSION_KEPT_S)

        with reaching_redis():  # of a run all runs are watched, for its own key changes all the time
            self._redis.transaction(keep, words_key, *([self._keys.runs] if run else []))

    def note_live(self, ref: ProjectRef, tasks: Iterable[int], *, no_more: Collection[int] = ()) -> None:
        """``/predict`` has just answered these; Label Studio may take a while to store what it was told.

        :param no_more: tasks that it has no answer to after all.
        """
        moment = time.time()
        key = self._keys.of(ref, "live")
        scores: dict[Any, Any] = {str(task): moment for task in tasks}
        if not (scores or no_more):
            return
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=True)
            if scores:
                pipe.zadd(key, scores)
            if no_more:
                pipe.zrem(key, *map(str, no_more))
            pipe.zremrangebyscore(key, "-inf", moment - LIVE_S)
            pipe.expire(key, LIVE_S)
            pipe.execute()

    def live(self, ref: ProjectRef, tasks: Sequence[int]) -> set[int]:
        """Those of ``tasks`` that ``/predict`` has answered a moment ago."""
        if not tasks:
            return set()
        with reaching_redis():
            times: Any = self._redis.zmscore(self._keys.of(ref, "live"), list(map(str, tasks)))
        since = time.time() - LIVE_S
        return {task for task, moment in zip(tasks, times, strict=True) if moment is not None and moment > since}

    def live_tasks(self, ref: ProjectRef) -> list[int]:
        """All tasks that ``/predict`` has answered a moment ago."""
        with reaching_redis():
            found: Any = self._redis.zrangebyscore(self._keys.of(ref, "live"), time.time() - LIVE_S, "+inf")
        return [int(task) for task in found]

    def predicted(self, ref: ProjectRef, tasks: Sequence[int]) -> dict[int, Prediction]:
        """What was predicted last for each of ``tasks``, of those that have been predicted at all."""
        if not tasks:
            return {}
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=False)
            for task in tasks:
                pipe.hget(self._keys.of(ref, f"predicted:{bucket(task)}"), str(task))
            pipe.hgetall(self._keys.of(ref, "words"))
            *found, numbers = pipe.execute()
        words = {int(number): word for word, number in numbers.items()}
        return {task: unpacked(text, words) for task, text in zip(tasks, found, strict=True) if text}

    def count_predicted(self, ref: ProjectRef, version: str) -> int:
        """About how many tasks have a prediction of ``version`` (HyperLogLog: exact for a few, within 1% for many)."""
        with reaching_redis():
            return int(self._redis.pfcount(self._keys.of(ref, f"version:{version}")))

    def keep_late(self, ref: ProjectRef, tasks: Sequence[int]) -> None:
        """``/predict`` did not reach these; they wait for a run about them."""
        key = self._keys.of(ref, "late")
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=True)
            pipe.sadd(key, *map(str, tasks))
            pipe.expire(key, LATE_FOR_S)
            pipe.execute()

    def late(self, ref: ProjectRef) -> list[int]:
        """The tasks that wait for a run about them."""
        with reaching_redis():
            kept: Any = self._redis.smembers(self._keys.of(ref, "late"))
        return sorted(map(int, kept))

    def drop_late(self, ref: ProjectRef, tasks: Sequence[int]) -> None:
        """These wait no longer."""
        with reaching_redis():
            self._redis.srem(self._keys.of(ref, "late"), *map(str, tasks))

    def withhold(self, ref: ProjectRef, tasks: Iterable[int]) -> None:
        """From now on these tasks get no prediction, so that people label them unswayed; none is remembered either."""
        numbers = list(tasks)
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=True)
            pipe.sadd(self._keys.of(ref, "withheld"), *map(str, numbers))
            for task in numbers:
                pipe.hdel(self._keys.of(ref, f"predicted:{bucket(task)}"), str(task))
            pipe.execute()

    def withheld(self, ref: ProjectRef, tasks: Sequence[int]) -> set[int]:
        """Those of ``tasks`` that are withheld."""
        if not tasks:
            return set()
        with reaching_redis():
            flags: Any = self._redis.smismember(self._keys.of(ref, "withheld"), list(map(str, tasks)))
        return {task for task, flag in zip(tasks, flags, strict=True) if flag}

    def all_withheld(self, ref: ProjectRef) -> set[int]:
        """All tasks that are withheld."""
        with reaching_redis():
            found: Any = self._redis.smembers(self._keys.of(ref, "withheld"))
        return set(map(int, found))

    def claim_job(self, ref: ProjectRef, job: str) -> bool:
        """Whether the caller is to queue ``job``: False while one of its kind waits already."""
        with reaching_redis():
            return bool(self._redis.set(self._keys.of(ref, f"queued:{job}"), 1, nx=True, ex=QUEUED_FOR_S))

    def release_job(self, ref: ProjectRef, job: str) -> None:
        """The job has begun: what happens from now on needs another."""
        with reaching_redis():
            self._redis.delete(self._keys.of(ref, f"queued:{job}"))

    def forget_tasks(self, ref: ProjectRef, tasks: Sequence[int]) -> None:
        """Drop what was predicted for ``tasks``, and what was said of them in secret (``store.sealed``)."""
        if not tasks:
            return
        with reaching_redis():
            bases: Any = self._redis.smembers(self._keys.of(ref, "bases"))
            pipe = self._redis.pipeline(transaction=True)
            for task in tasks:
                pipe.hdel(self._keys.of(ref, f"predicted:{bucket(task)}"), str(task))
            for basis in bases:
                pipe.hdel(self._keys.of(ref, f"sealed:{basis}"), *map(str, tasks))
            for name in ("withheld", "late"):
                pipe.srem(self._keys.of(ref, name), *map(str, tasks))
            pipe.execute()

    @staticmethod
    def _text(value: Any) -> str:
        return value or ""
