"""A run's batches at a provider, as they are kept in Redis: enough to find, read and remove each, whoever is killed.

A batch is kept before it is submitted, under the name by which the provider finds it again, with the places of its
requests: of each ticket the tasks that read so, and the name under which its answer is kept for the next who asks
(``store.answers``). A task that is in a batch is ``b`` in the ledger, and so is what a batch has left unanswered, or
``b+`` where it is to go into another one; it is nobody's to ask about until that, or until the rest is asked live. As
rows are read they are struck out in the step that keeps their answers and counts their cost, so that none counts twice.
"""

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import redis

from prelabel.core.types import Usage
from prelabel.store import batch_scripts as scripts
from prelabel.store.connection import reaching_redis
from prelabel.store.keys import Keys
from prelabel.store.ledger import Call, Claim, Lost, costs

Named = tuple[int, str]
"""A task, and the name under which its answer is kept; empty if it is not."""
Places = tuple[tuple[Named, ...], ...]
"""Of a request: for each of its tickets, in its order, the tasks that read so."""
FETCHED = 1000
"""Requests whose places are fetched at once."""


@dataclass(frozen=True, slots=True)
class KeptBatch:
    """Some of a run's requests, at the provider as one batch, or about to be."""

    number: int
    name: str
    """By which the provider finds it; begins with the run's id, and comes never twice, whatever Redis may lose."""
    kept_at: float
    """Unix seconds; it was submitted after that, if it was."""
    requests: int
    tokens: int
    """Estimated, of all prompts."""
    batch_id: str = ""
    """The provider's; empty as long as it is not known."""
    answered: int = 0
    """Requests, as the provider told when it was last asked."""
    expires_at: float | None = None
    """Unix seconds: it ends then, however much is done."""
    is_unwanted: bool = False
    """Whether it is to be cancelled and removed: it holds no request of the run's."""


@dataclass(frozen=True, slots=True)
class ReadRow:
    """What has become of a task whose request was read."""

    task: int
    record: str
    said: str = ""


class KeptBatches:
    """The batches of one run. Whatever is told of a run that was forgotten raises ``NoRun``.

    All that takes a claim raises :class:`prelabel.store.ledger.Lost` where somebody else holds the run's batches.
    """

    def __init__(self, client: redis.Redis, keys: Keys, run_id: str, call: Call) -> None:
        self._redis = client
        self._keys = keys
        self._run_id = run_id
        self._call = call

    def all(self) -> list[KeptBatch]:
        """The oldest first."""
        with reaching_redis():
            kept: Any = self._redis.hgetall(self._key("batches"))
        found = {int(number): json.loads(text) for number, text in kept.items()}
        return [KeptBatch(number, **found[number]) for number in sorted(found)]

    def keep(
        self, claim: Claim, requests: Mapping[str, Places], *, now: float, tokens: int, dollars: float
    ) -> KeptBatch:
        """A batch that is about to be submitted.

        :param requests: their places, by their ids.
        :param dollars: what they may cost; reserved until it is dropped.
        """
        batch = KeptBatch(0, f"{self._run_id}-{secrets.token_hex(6)}", now, len(requests), tokens)
        rows = [word for key, places in requests.items() for word in (key, _packed(places))]
        number = _require(self._call(scripts.KEEP, claim.token, _told(batch), f"{dollars:.9f}", *rows))
        return replace(batch, number=number)

    def update(self, claim: Claim, batch: KeptBatch) -> None:
        _require(self._call(scripts.UPDATE, claim.token, batch.number, _told(batch)))

    def places(self, batch: KeptBatch, requests: Sequence[str]) -> dict[str, Places]:
        """Of those of the requests that have not been read."""
        if not requests:
            return {}
        with reaching_redis():
            found: Any = self._redis.hmget(self._places(batch), list(requests))
        return {key: _unpacked(text) for key, text in zip(requests, found, strict=True) if text}

    def unread(self, batch: KeptBatch) -> Iterator[dict[str, Places]]:
        """The places of all requests that have not been read, some at a time."""
        with reaching_redis():
            left: Any = self._redis.hkeys(self._places(batch))
        for start in range(0, len(left), FETCHED):
            yield self.places(batch, left[start : start + FETCHED])

    def read(
        self,
        claim: Claim,
        batch: KeptBatch,
        requests: Iterable[str],
        rows: Iterable[ReadRow],
        *,
        usage: Usage | None = None,
    ) -> None:
        """These requests have been read.

        :param rows: their tasks, but for those that are left to live asking.
        """
        cost, counted = costs(usage)
        counters = [word for pair in counted.items() for word in pair]
        ids = list(requests)
        told = [word for row in rows for word in (row.task, row.record, row.said)]
        lists = [len(counted), *counters, len(ids), *ids]
        _require(self._call(scripts.READ, claim.token, batch.number, cost, *lists, *told))

    def drop(self, claim: Claim, batch: KeptBatch) -> None:
        """It is no more; tasks of requests that were not read wait again, and what it had reserved is free."""
        _require(self._call(scripts.DROP, claim.token, batch.number))

    def add_stray(self, batch_id: str, now: float) -> None:
        """A batch at the provider that nobody wants; whoever holds the batches is to cancel and remove it."""
        self._call(scripts.STRAY, _told(KeptBatch(0, "", now, 0, 0, batch_id, is_unwanted=True)))

    def free_again(self, claim: Claim, shards: Iterable[str]) -> int:
        """While there is no batch: what is to go into another one waits again; how many tasks of these shards."""
        return sum(_require(self._call(scripts.FREE, claim.token, shard, 0)) for shard in shards)

    def open_live(self, claim: Claim, shards: Iterable[str]) -> int:
        """While there is no batch: all that was left is to be asked live; how many tasks of these shards."""
        left = sum(_require(self._call(scripts.FREE, claim.token, shard, 1)) for shard in shards)
        _require(self._call(scripts.OPEN_LIVE, claim.token))
        return left

    def money_left(self, most: float) -> float:
        """Dollars that are neither spent nor reserved, of a run that may cost ``most``; 0 if that is not known."""
        with reaching_redis():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hmget(self._key(), ["cost", "lost_cost", "priced", "requests"])
            pipe.hvals(self._key("reserved"))
            (cost, lost, priced, asked), held = pipe.execute()
        if int(priced or 0) != int(asked or 0):
            return 0.0
        return max(0.0, most - float(cost or 0) - float(lost or 0) - sum(map(float, held)))

    def keys(self) -> list[str]:
        """The keys of all places."""
        return [self._places(batch) for batch in self.all()]

    def _places(self, batch: KeptBatch) -> str:
        return self._key("places", str(batch.number))

    def _key(self, *name: str) -> str:
        return self._keys.run(self._run_id, *name)


def _told(batch: KeptBatch) -> str:
    return json.dumps({key: value for key, value in asdict(batch).items() if key != "number"})


def _packed(places: Places) -> str:
    """``12:NAME,15:NAME 18:``: tickets by spaces, their tasks by commas."""
    return " ".join(",".join(f"{task}:{name}" for task, name in ticket) for ticket in places)


def _unpacked(text: str) -> Places:
    pairs = [[each.partition(":") for each in ticket.split(",")] for ticket in text.split(" ")]
    return tuple(tuple((int(task), name) for task, _, name in ticket) for ticket in pairs)


def _require(said: Any) -> int:
    if said == -1:
        raise Lost
    return int(said)
