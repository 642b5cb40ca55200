"""What happens to a run's tasks in one step; see ``run_scripts``, whose ``PRELUDE`` stands before each, and ``ledger``.

What a holder does counts only as long as its token is the part's last: ``-1`` where somebody else has taken it since.
"""

TAKE = """
if not state then return false end
local part, lease_ms, holder, token = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
if part == '' then
  if state ~= 'running' or redis.call('HGET', run, 'wanted') ~= '' or redis.call('HGET', run, 'is_open') ~= '1' then
    return ''
  end
  for _, shard in ipairs(redis.call('ZRANGE', open, 0, -1)) do
    if not is_on(redis.call('HGET', leases, shard)) then
      part = shard
      break
    end
  end
  if part == '' then return '' end
elseif is_on(redis.call('HGET', leases, part)) then
  return ''
end
local lost = redis.call('HGET', reserved, part)
if lost then
  if tonumber(lost) > 0 then redis.call('HINCRBYFLOAT', run, 'lost_cost', lost) end
  redis.call('HDEL', reserved, part)
end
redis.call('HSET', leases, part, string.format('%.0f ', now_ms + lease_ms) .. holder)
redis.call('HSET', fences, part, token)
return part
"""
"""A part that nobody holds, by its name or (empty) whichever shard has waiting tasks: its name; its token is from now
on the one that is given.

What its last holder had reserved may have been spent, and counts as that.
"""

RENEW = """
if not state then return false end
local held = {}
local lease = string.format('%.0f ', now_ms + ARGV[3]) .. ARGV[4]
for place = 5, #ARGV, 2 do
  local is_kept = redis.call('HEXISTS', leases, ARGV[place]) == 1  -- and not given back meanwhile
  local is_mine = is_kept and redis.call('HGET', fences, ARGV[place]) == ARGV[place + 1]
  if is_mine then redis.call('HSET', leases, ARGV[place], lease) end
  table.insert(held, is_mine and 1 or 0)
end
return held
"""
"""Milliseconds, the holder, then parts and tokens: whether each is still held, and if so from now on for so long."""

GIVE_BACK = """
if not state then return false end
for place = 3, #ARGV, 2 do
  if redis.call('HGET', fences, ARGV[place]) == ARGV[place + 1] then redis.call('HDEL', leases, ARGV[place]) end
end
return 1
"""

FREE = """
if not state then return false end
local held, freed = redis.call('HGETALL', leases), 0
for at = 1, #held, 2 do
  if string.match(held[at + 1], ' (.*)') == ARGV[3] then freed = freed + redis.call('HDEL', leases, held[at]) end
end
return freed
"""
"""Somebody is dead: what it held is anybody's."""

PLAN = """
if not state then return false end
if redis.call('HGET', fences, 'plan') ~= ARGV[3] then return -1 end
local place, total, size, draws = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
for slot = 8, 6 + 2 * draws, 2 do redis.call('HSET', drawn, ARGV[slot], ARGV[slot + 1]) end
local first = 8 + 2 * draws
for start = first, #ARGV, size do
  local shard = redis.call('HINCRBY', run, 'shard_count', 1)
  local last = math.min(start + size - 1, #ARGV)
  for at = start, last do redis.call('HSET', run .. ':shard:' .. shard, ARGV[at], '?') end
  redis.call('ZADD', shards, ARGV[start], shard)
  redis.call('ZADD', open, last - start + 1, shard)
  bump('waiting', last - start + 1)
end
save_counts()
redis.call('HINCRBY', run, 'planned', math.max(0, #ARGV - first + 1))
redis.call('HSET', run, 'place', place, 'total', total)
local asked = cjson.decode(redis.call('HGET', run, 'options'))
if (asked.validation or 0) == 0 and asked.mode ~= 'batch' then redis.call('HSET', run, 'is_open', '1') end
return 1
"""
"""Token, place, total, tasks a shard, the number of draws and each as slot and task, then a page of tasks."""

PLANNED = """
if not state then return false end
if redis.call('HGET', fences, 'plan') ~= ARGV[3] then return -1 end
for _, task in ipairs(redis.call('HVALS', drawn)) do move(shard_of(task), task, 'h', '') end
save_counts()
redis.call('HSET', run, 'is_planned', '1', 'total', redis.call('HGET', run, 'planned') or 0)
if cjson.decode(redis.call('HGET', run, 'options')).mode ~= 'batch' then redis.call('HSET', run, 'is_open', '1') end
return 1
"""
"""All tasks are in the ledger: those that were drawn are withheld, and the rest may be asked about, live unless it is
to be asked in batches first."""

MOVE = """
if not state then return false end
if redis.call('HGET', fences, ARGV[3]) ~= ARGV[4] then return -1 end
local released, lost, counters = ARGV[6], ARGV[7], tonumber(ARGV[8])
if tonumber(ARGV[5]) > 0 then redis.call('HINCRBYFLOAT', run, 'cost', ARGV[5]) end
if tonumber(lost) > 0 then redis.call('HINCRBYFLOAT', run, 'lost_cost', lost) end
if tonumber(released) > 0 then
  local left = redis.call('HINCRBYFLOAT', reserved, ARGV[3], '-' .. released)
  if tonumber(left) < 1e-9 then redis.call('HDEL', reserved, ARGV[3]) end
end
for at = 9, 7 + 2 * counters, 2 do redis.call('HINCRBY', run, ARGV[at], ARGV[at + 1]) end
local moved = 0
for at = 9 + 2 * counters, #ARGV, 4 do moved = moved + move(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]) end
save_counts()
return moved
"""
"""Part, token, dollars, dollars that are no longer reserved, dollars that may have been spent for nothing, the number
of counters and each with what is added to it; then tasks: shard, task, record, and what was said. How many have
moved."""

RESERVE = """
if not state then return false end
if redis.call('HGET', fences, ARGV[3]) ~= ARGV[4] then return -1 end
local dollars, most = ARGV[5], tonumber(ARGV[6])
local spent, held = 0, 0
for _, each in ipairs(redis.call('HVALS', reserved)) do held = held + each end
for _, name in ipairs({'cost', 'lost_cost'}) do spent = spent + (redis.call('HGET', run, name) or 0) end
local is_known = (redis.call('HGET', run, 'priced') or '0') == (redis.call('HGET', run, 'requests') or '0')
if not is_known then return 3 end
if spent + dollars > most then return 2 end
if spent + held + dollars > most then return 0 end
redis.call('HINCRBYFLOAT', reserved, ARGV[3], dollars)
return 1
"""
"""Part, token, dollars that a request may cost, and those that the run may: 1 if it may be sent, 0 if not before
others have come back, 2 if not at all, 3 if not at all since what an answer has cost is not known."""

FORGET = """
if not state then return false end
for place = 3, #ARGV do
  local task = ARGV[place]
  local shard = shard_of(task)
  if shard and redis.call('HEXISTS', run .. ':shard:' .. shard, task) == 1 then
    if move(shard, task, 's', '') == 0 then
      redis.call('HDEL', run .. ':shard:' .. shard, task)
      redis.call('ZREM', failed, task)
    end
  end
end
save_counts()
return 1
"""
"""These tasks are gone: those that wait are skipped, of the others nothing is kept but that they were counted."""

COMPLETE = """
if not state then return false end
if redis.call('HGET', fences, 'write') ~= ARGV[3] then return -1 end
if redis.call('HGET', run, 'is_planned') ~= '1' then return 0 end
for _, name in ipairs({'waiting', 'answered'}) do
  if tonumber(redis.call('HGET', run, name) or 0) > 0 then return 0 end
end
if not OVER[state] then finish('succeeded', '') end
return 1
"""
"""The writer's token: the run is over (1), unless there is a task left that waits or is not written (0)."""

ALL = (TAKE, RENEW, GIVE_BACK, FREE, PLAN, PLANNED, MOVE, RESERVE, FORGET, COMPLETE)
