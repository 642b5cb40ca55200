"""Answers that are kept, so that the same is not asked twice: by project, without a word of what was asked.

What an answer answers (its subject: model, prompt, ticket and all) is here 96 bits of HMAC-SHA256 under a random
secret, so that what turns up of it in a log or a dump of keys tells nobody which tickets there were.

An answer such as ``[0.93,"12"]`` takes 39 bytes (MEMORY USAGE over 180,000 of them, Redis 7.0), 8 MB in all; under a
key of its own it would take 186, in a hash and a sorted set 206. Answers live in many small hashes, into which their
digests spread them evenly and each of which Redis keeps in one piece. A hash that is full drops its oldest tenth.
"""

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import redis

from prelabel.core.kept import Answers
from prelabel.errors import StoreUnavailable
from prelabel.store.connection import reaching_redis
from prelabel.store.keys import ANSWERS_SECRET, Keys, ProjectRef

DAY_S = 86_400
USUAL_HASH = 100
"""Answers in a hash. Redis 6.2 to 8 keep hashes of up to 512 fields in one piece, if no value is longer than 64 bytes;
each answer is found by going through one."""
DIGEST_BYTES = 12
TIME_DIGITS = 8
"""Before each answer, when it was kept: Unix seconds in hexadecimal, good until 2106."""

_KEEP = f"""
local most, seconds, project = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local projects = table.remove(KEYS)
if redis.call('HEXISTS', projects, project) == 0 then return end  -- it was forgotten meanwhile
for number, key in ipairs(KEYS) do
  redis.call('HSET', key, ARGV[2 + 2 * number], ARGV[3 + 2 * number])
  redis.call('EXPIRE', key, seconds)
  local surplus = redis.call('HLEN', key) - most
  if surplus > 0 then
    local flat, kept = redis.call('HGETALL', key), {{}}
    for i = 1, #flat, 2 do kept[#kept + 1] = {{string.sub(flat[i + 1], 1, {TIME_DIGITS}), flat[i]}} end
    table.sort(kept, function(one, other) return one[1] < other[1] end)
    for i = 1, surplus + math.floor(most / 10) do redis.call('HDEL', key, kept[i][2]) end
  end
end
"""


class AnswerCache:
    """The answers of one Label Studio's projects.

    :param days: for which an answer is kept.
    :param size: most answers of a project; some 5% fewer in practice, since its hashes do not fill up all at once.
    """

    def __init__(
        self, client: redis.Redis, keys: Keys, *, days: int, size: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._redis = client
        self._keys = keys
        self._clock = clock
        self._kept_s = days * DAY_S
        self._hashes = -(-size // USUAL_HASH)
        self._most = size // self._hashes
        self._script = client.register_script(_KEEP)
        self._secret = b""

    def of(self, project: ProjectRef) -> Answers:
        return ProjectAnswers(self, project)

    def recall(self, project: ProjectRef, subjects: Sequence[str]) -> list[str | None]:
        """See :class:`prelabel.core.kept.Answers`."""
        found: list[Any] = [None] * len(subjects)
        with suppress(StoreUnavailable), reaching_redis():
            pipe = self._redis.pipeline(transaction=False)
            for digest in self._digests(project, subjects):
                pipe.hget(self._hash(project, digest), digest)
            found = pipe.execute()
        since = f"{max(0, int(self._clock()) - self._kept_s):0{TIME_DIGITS}x}"
        return [text[TIME_DIGITS:] if text and text[:TIME_DIGITS] > since else None for text in found]

    def keep(self, project: ProjectRef, answers: Mapping[str, str]) -> None:
        """See :class:`prelabel.core.kept.Answers`. Of a project that was forgotten nothing is kept."""
        with suppress(StoreUnavailable), reaching_redis():
            self._keep(project, dict(zip(self._digests(project, list(answers)), answers.values(), strict=True)))

    def names(self, project: ProjectRef, subjects: Sequence[str]) -> list[str]:
        """See :class:`prelabel.core.kept.Answers`."""
        with suppress(StoreUnavailable), reaching_redis():
            return [urlsafe_b64encode(digest).decode() for digest in self._digests(project, subjects)]
        return [""] * len(subjects)

    def keep_named(self, project: ProjectRef, answers: Mapping[str, str]) -> None:
        """See :class:`prelabel.core.kept.Answers`."""
        with suppress(StoreUnavailable), reaching_redis():
            self._keep(project, {urlsafe_b64decode(name): answer for name, answer in answers.items()})

    def _keep(self, project: ProjectRef, answers: Mapping[bytes, str]) -> None:
        if not answers:
            return
        moment = f"{int(self._clock()):0{TIME_DIGITS}x}"
        arguments = [part for digest, answer in answers.items() for part in (digest, moment + answer)]
        keys = [self._hash(project, digest) for digest in answers]
        self._script(keys=[*keys, self._keys.projects], args=[self._most, self._kept_s, str(project.id), *arguments])

    def _digests(self, project: ProjectRef, subjects: Sequence[str]) -> list[bytes]:
        """The project goes into them, so that nobody sees that two projects hold the same ticket."""
        if subjects and not self._secret:
            self._secret = self._find_secret()
        # Half a surrogate pair is no text, but a ticket may hold one.
        asked = (f"{project}\n{subject}".encode(errors="surrogatepass") for subject in subjects)
        return [hmac.digest(self._secret, each, hashlib.sha256)[:DIGEST_BYTES] for each in asked]

    def _find_secret(self) -> bytes:
        """The same for all processes: that of the first who came."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.set(ANSWERS_SECRET, secrets.token_hex(32), nx=True)
        pipe.get(ANSWERS_SECRET)
        return bytes.fromhex(pipe.execute()[1])

    def _hash(self, project: ProjectRef, digest: bytes) -> str:
        return self._keys.of(project, f"answers:{int.from_bytes(digest[:4]) % self._hashes}")


class ProjectAnswers:
    """The answers of one project, as :class:`prelabel.core.kept.Answers`."""

    def __init__(self, cache: AnswerCache, project: ProjectRef) -> None:
        self._cache = cache
        self._project = project

    def recall(self, subjects: Sequence[str]) -> list[str | None]:
        return self._cache.recall(self._project, subjects)

    def keep(self, answers: Mapping[str, str]) -> None:
        self._cache.keep(self._project, answers)

    def names(self, subjects: Sequence[str]) -> list[str]:
        return self._cache.names(self._project, subjects)

    def keep_named(self, answers: Mapping[str, str]) -> None:
        self._cache.keep_named(self._project, answers)
