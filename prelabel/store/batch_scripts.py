"""What happens to a run's batches in one step; see ``batches``, and ``run_scripts`` for the ``PRELUDE`` before each.

What a holder does counts only as long as its token is the last of the part ``batch``: ``-1`` where it is not.
"""

_FENCE = """
if not state then return false end
if redis.call('HGET', fences, 'batch') ~= ARGV[3] then return -1 end
local function tasks_of(places) return string.gmatch(places, '(%d+):') end
"""

KEEP = f"""{_FENCE}
local number = redis.call('HINCRBY', run, 'batch_count', 1)
for at = 6, #ARGV, 2 do
  redis.call('HSET', run .. ':places:' .. number, ARGV[at], ARGV[at + 1])
  for task in tasks_of(ARGV[at + 1]) do move(shard_of(task), task, 'b', '') end
end
save_counts()
redis.call('HSET', batches, number, ARGV[4])
if tonumber(ARGV[5]) > 0 then redis.call('HSET', reserved, 'batch:' .. number, ARGV[5]) end
redis.call('SADD', batching, id)
return number
"""
"""Token, what is kept of a batch (JSON), the dollars that it may cost, then its requests, each with its places: the
batch's number. Its tasks are nobody else's to ask about from now on."""

UPDATE = f"""{_FENCE}
if redis.call('HEXISTS', batches, ARGV[4]) == 1 then redis.call('HSET', batches, ARGV[4], ARGV[5]) end
return 1
"""

READ = f"""{_FENCE}
local places, at = run .. ':places:' .. ARGV[4], 6
if tonumber(ARGV[5]) > 0 then redis.call('HINCRBYFLOAT', run, 'cost', ARGV[5]) end
local function next_count()
  at = at + 1
  return tonumber(ARGV[at - 1])
end
for _ = 1, next_count() do
  redis.call('HINCRBY', run, ARGV[at], ARGV[at + 1])
  at = at + 2
end
for _ = 1, next_count() do
  redis.call('HDEL', places, ARGV[at])
  at = at + 1
end
for at = at, #ARGV, 3 do move(shard_of(ARGV[at]), ARGV[at], ARGV[at + 1], ARGV[at + 2]) end
save_counts()
return 1
"""
"""Token, number, dollars; then, each list after its length: counters with what is added to them, and requests that are
read; then tasks, records, and what was said."""

DROP = f"""{_FENCE}
local places = run .. ':places:' .. ARGV[4]
for _, each in ipairs(redis.call('HVALS', places)) do
  for task in tasks_of(each) do move(shard_of(task), task, '?', '') end
end
save_counts()
redis.call('DEL', places)
redis.call('HDEL', batches, ARGV[4])
redis.call('HDEL', reserved, 'batch:' .. ARGV[4])
if redis.call('HLEN', batches) == 0 then redis.call('SREM', batching, id) end
return 1
"""
"""Token and number: the batch is no more. The tasks of its requests that were not read wait again."""

FREE = f"""{_FENCE}
local kept, freed = redis.call('HGETALL', run .. ':shard:' .. ARGV[4]), 0
for at = 1, #kept, 2 do
  if kept[at + 1] == 'b+' or (kept[at + 1] == 'b' and ARGV[5] == '1') then
    freed = freed + move(ARGV[4], kept[at], '?', '')
  end
end
save_counts()
return freed
"""
"""Token and shard, of which no task is in a batch: what is to go into another one waits again, and with 1 all that was
left. How many tasks that are."""

OPEN_LIVE = f"""{_FENCE}
redis.call('HSET', run, 'is_open', '1', 'poll_at', '')
return 1
"""
"""What waits is asked live from now on."""

STRAY = """
if not state then return false end
local number = redis.call('HINCRBY', run, 'batch_count', 1)
redis.call('HSET', batches, number, ARGV[3])
redis.call('SADD', batching, id)
return number
"""
"""What is kept (JSON) of a batch that nobody wants, from somebody who holds nothing any more."""

ALL = (KEEP, UPDATE, READ, DROP, FREE, OPEN_LIVE, STRAY)
