"""The budget of an LLM's key, kept for all processes on all machines by scripts that run inside Redis, by its clock.

``prelabel.core.rates`` says how it is paced. A server that refuses requests all the same makes the pace slower by a
twentieth at a time, and it recovers by a thousandth a second, so that a limit below the one that was set or learned is
found and kept to with few refusals.
"""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from prelabel.core.rates import (
    BURST_S,
    CONFIRMED_S,
    LONGEST_PAUSE_S,
    MEMBER_S,
    MINUTE_S,
    USED_SHARE,
    Noted,
    Rates,
    Turn,
)
from prelabel.store.connection import connect_async, reaching_redis

EASED_BY, RECOVERED_A_S = 0.95, 0.001
LOWEST_EASE = 0.05
KEPT_S = 86_400
"""Limits rarely change: what was learned yesterday is a good beginning."""

_COMMON = f"""
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
local kept = {{}}
local flat = redis.call('HGETALL', KEYS[1])
for i = 1, #flat, 2 do kept[flat[i]] = tonumber(flat[i + 1]) end
local set = {{requests = tonumber(ARGV[1]), tokens = tonumber(ARGV[2])}}
local function keep(name, value)
  kept[name] = value
  redis.call('HSET', KEYS[1], name, string.format('%.6f', value))
  redis.call('EXPIRE', KEYS[1], {KEPT_S})
end
local function ease()
  return math.min(1, (kept.ease or 1) + (now - (kept.eased_at or now)) * {RECOVERED_A_S})
end
local function a_second(kind)  -- nil where it is not known
  local rate = set[kind] > 0 and set[kind] or kept[kind]
  return rate and rate * ease() * {USED_SHARE} / {MINUTE_S}
end
local function due(kind)
  local at = kept[kind .. '_due'] or 0
  if at > now + {LONGEST_PAUSE_S} then at = now end  -- Redis's clock was set back
  return math.max(at, now - {BURST_S})
end
local function pause(seconds)
  local until_then = now + math.min(seconds, {LONGEST_PAUSE_S})
  if seconds > 0 and until_then > (kept.paused_until or 0) then keep('paused_until', until_then) end
end
"""

_TAKE = (
    _COMMON
    + f"""
local cost, patience = {{requests = 1, tokens = tonumber(ARGV[3])}}, tonumber(ARGV[4])
redis.call('ZADD', KEYS[2], now, ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - {MEMBER_S})
redis.call('EXPIRE', KEYS[2], {MEMBER_S:.0f})
local wait, known, limited = math.max(0, (kept.paused_until or 0) - now), kept.heard_at and 1 or 0, 0
for kind in pairs(cost) do
  if a_second(kind) then
    known, limited = 1, 1
    wait = math.max(wait, due(kind) - now)
  end
end
if wait <= patience then
  for kind, used in pairs(cost) do
    local rate = a_second(kind)
    if rate then keep(kind .. '_due', due(kind) + used / rate) end
  end
end
return {{wait <= patience and 1 or 0, string.format('%.6f', wait), redis.call('ZCARD', KEYS[2]), known, limited}}
"""
)

_NOTE = (
    _COMMON
    + f"""
local used = {{requests = tonumber(ARGV[3]), tokens = tonumber(ARGV[4])}}
local learned = {{requests = tonumber(ARGV[5]), tokens = tonumber(ARGV[6])}}
for kind, rate in pairs(learned) do
  local is_old = now - (kept[kind .. '_confirmed_at'] or 0) > {CONFIRMED_S}
  if rate > 0 and (not kept[kind] or rate <= kept[kind] or is_old) then
    keep(kind, rate)
    keep(kind .. '_confirmed_at', now)
  end
end
for kind, more in pairs(used) do
  local rate = a_second(kind)
  if rate and more ~= 0 then keep(kind .. '_due', due(kind) + more / rate) end
end
pause(tonumber(ARGV[7]))
keep('heard_at', now)
"""
)

_PAUSE = (
    _COMMON
    + f"""
if now > (kept.paused_until or 0) and now > (kept.eased_at or 0) + 1 then  -- else it tells of what was in flight then
  keep('ease', math.max({LOWEST_EASE}, ease() * {EASED_BY}))
  keep('eased_at', now)
end
pause(tonumber(ARGV[3]))
"""
)


class RedisBudget:
    """A budget for :class:`prelabel.llm.budget.SharedBudget`, used on one event loop.

    :param key: as :func:`prelabel.store.keys.limits_key` gives it.
    :param rates: from the settings; they win over what is learned.
    """

    def __init__(self, url: str, key: str, rates: Rates) -> None:
        self._redis = connect_async(url)
        self._keys = [key, f"{key}:processes"]
        self._rates = rates
        self._process = uuid4().hex
        self._take = self._redis.register_script(_TAKE)
        self._note = self._redis.register_script(_NOTE)
        self._pause = self._redis.register_script(_PAUSE)

    async def take(self, tokens: int, patience_s: float) -> Turn:
        """:raises StoreUnavailable: Redis does not answer."""
        granted, wait_s, processes, known, limited = await self._run(self._take, [tokens, patience_s, self._process])
        return Turn(bool(granted), float(wait_s), int(processes), bool(known), bool(limited))

    async def note(self, noted: Noted) -> None:
        """:raises StoreUnavailable: Redis does not answer."""
        learned = noted.learned
        await self._run(self._note, [noted.requests, noted.tokens, learned.requests, learned.tokens, noted.pause_s])

    async def pause(self, seconds: float) -> None:
        """:raises StoreUnavailable: Redis does not answer."""
        await self._run(self._pause, [seconds])

    async def close(self) -> None:
        await self._redis.aclose()

    async def _run(self, script: Any, arguments: Sequence[float | str]) -> Any:
        with reaching_redis():
            return await script(keys=self._keys, args=[self._rates.requests, self._rates.tokens, *arguments])
