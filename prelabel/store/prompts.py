"""A project's prompts: numbered versions that never change, one of which is the project's at a time."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis

from prelabel.core.types import Prompt
from prelabel.errors import RequestError
from prelabel.store.connection import reaching_redis
from prelabel.store.keys import Keys, ProjectRef

ADD_SCRIPT = """
local version = redis.call('HGET', KEYS[1], ARGV[1])
if not version then
    version = redis.call('HLEN', KEYS[2]) + 1
    redis.call('HSET', KEYS[1], ARGV[1], version)
    redis.call('HSET', KEYS[2], version, ARGV[2])
end
return tonumber(version)
"""
SUBMIT_SCRIPT = """
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""
PROMOTE_SCRIPT = """
if redis.call('HGET', KEYS[1], 'prompt') == ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'prompt', ARGV[1])
redis.call('LPUSH', KEYS[2], ARGV[1])
return 1
"""


@dataclass(frozen=True, slots=True)
class PromptRecord:
    """A stored prompt version."""

    version: int
    text: str
    created_at: str
    author: int | None
    """The id of the Label Studio user who submitted it, where one did."""
    promoted: bool
    """Whether it is the project's now."""


class Prompts:
    """The prompt versions of one Label Studio's projects, in Redis."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys
        self._add = client.register_script(ADD_SCRIPT)
        self._submit = client.register_script(SUBMIT_SCRIPT)
        self._promote = client.register_script(PROMOTE_SCRIPT)

    def add(self, ref: ProjectRef, text: str, author: int | None = None) -> Prompt:
        """The version that says ``text``: a new one, unless it was submitted before."""
        record = {"text": text, "created_at": datetime.now(UTC).isoformat(timespec="seconds"), "author": author}
        keys = [self._keys.of(ref, "prompt-versions"), self._keys.of(ref, "prompts")]
        with reaching_redis():
            version: Any = self._add(keys, [hashlib.sha256(text.encode()).hexdigest(), json.dumps(record)])
        return Prompt(int(version), text)

    def note_submission(self, ref: ProjectRef, annotation_id: int, version: int) -> bool:
        """Note that an annotation holds a prompt; False if that is known.

        An annotation keeps the prompt it was submitted with, so each later change of its label brings it again.
        """
        with reaching_redis():
            return bool(self._submit([self._keys.of(ref, "submissions")], [str(annotation_id), str(version)]))

    def promote(self, ref: ProjectRef, version: int) -> bool:
        """Make ``version`` the project's; False if it is already.

        :raises RequestError: there is no such version.
        """
        self.get(ref, version)
        keys = [self._keys.of(ref, "state"), self._keys.of(ref, "promotions")]
        with reaching_redis():
            return bool(self._promote(keys, [str(version)]))

    def rollback(self, ref: ProjectRef) -> int:
        """Make the version before the present one the project's again; returns it, 0 for the settings' default.

        :raises RequestError: no prompt was promoted, so there is nothing to go back from.
        """
        promotions = self._keys.of(ref, "promotions")
        with reaching_redis():
            if not self._redis.lpop(promotions):
                raise RequestError("prompt", "the project has no promoted prompt to go back from", 404)
            before: Any = self._redis.lindex(promotions, 0)
            self._redis.hset(self._keys.of(ref, "state"), "prompt", before or "0")
        return int(before or 0)

    def all(self, ref: ProjectRef) -> list[PromptRecord]:
        """Every version, oldest first."""
        with reaching_redis():
            stored: Any = self._redis.hgetall(self._keys.of(ref, "prompts"))
            current: Any = self._redis.hget(self._keys.of(ref, "state"), "prompt")
        return [_record(int(version), stored[version], version == current) for version in sorted(stored, key=int)]

    def get(self, ref: ProjectRef, version: int) -> PromptRecord:
        """:raises RequestError: there is no such version."""
        for record in self.all(ref):
            if record.version == version:
                return record
        raise RequestError("prompt", f"the project has no prompt version {version}", 404)


def _record(version: int, stored: str, promoted: bool) -> PromptRecord:
    return PromptRecord(version=version, promoted=promoted, **json.loads(stored))
