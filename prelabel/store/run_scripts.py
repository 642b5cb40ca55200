"""What happens to a run in one step, as scripts that Redis does whole: nobody ever sees half of it, or comes between.

A run that was forgotten is not brought back: each script says false (Python's None) where there is none any more.
``runs`` calls them; ``ledger_scripts`` has those about its tasks.
"""

KEYS = (
    *("leases", "fences", "shards", "open", "unwritten", "failed", "reasons", "comments", "drawn", "reserved"),
    *("history", "pace", "chosen", "batches"),
)
"""What is kept of a run beside its own hash and its shards, in the order in which scripts are given it."""
HISTORY_SHOWN = 50
"""Of what has happened to a run, what is kept."""
KEPT_S = 90 * 86_400
"""What ended is kept for so long, since it may be tried again or asked about."""
PACE_S, PACE_BUCKETS = 10, 6
"""Tasks are counted by tens of seconds, and those of the last minute kept."""

PRELUDE = (
    f"""
local run, leases, fences, shards, open, unwritten, failed, reasons, comments, drawn, reserved, history, pace,
  chosen, batches, going, runs, batching = unpack(KEYS)
local HISTORY_SHOWN, KEPT_S, PACE_S, PACE_BUCKETS = {HISTORY_SHOWN}, {KEPT_S}, {PACE_S}, {PACE_BUCKETS}
"""
    + """
local id, moment = ARGV[1], ARGV[2]
local OVER = {succeeded = true, failed = true, canceled = true}
local state = redis.call('HGET', run, 'state')
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local function tell(what, why)
  local last = cjson.decode(redis.call('LINDEX', history, -1) or '{}')
  if last.what == what and last.why == (why or '') then return end
  redis.call('RPUSH', history, cjson.encode({at = moment, what = what, why = why or ''}))
  redis.call('LTRIM', history, -HISTORY_SHOWN, -1)
end
local function is_on(lease)
  return tonumber(string.match(lease or '0', '%d+')) > now_ms
end
local function is_worked_on()
  for _, lease in ipairs(redis.call('HVALS', leases)) do
    if is_on(lease) then return true end
  end
  return false
end
local function leave()
  local project = string.format('%.0f', cjson.decode(redis.call('HGET', run, 'options')).project)
  if redis.call('HGET', going, project) == id then redis.call('HDEL', going, project) end
end
local function each_key(does)
  for at = 1, #KEYS - 3 do does(KEYS[at]) end  -- but for what is of the site
  for shard = 1, tonumber(redis.call('HGET', run, 'shard_count') or 0) do does(run .. ':shard:' .. shard) end
end
local function finish(as, message)
  redis.call('HSET', run, 'state', as, 'wanted', '', 'message', message, 'finished_at', moment)
  tell(as, message)
  each_key(function(key) redis.call('EXPIRE', key, KEPT_S) end)
  leave()
end
local function obey()
  local wanted = redis.call('HGET', run, 'wanted')
  if wanted == 'cancel' and redis.call('HLEN', batches) > 0 and redis.call('HGET', run, 'is_called_off') ~= '1' then
    return false
  end
  if wanted == 'cancel' then finish('canceled', '')
  elseif wanted == 'fail' then finish('failed', redis.call('HGET', run, 'why') or '')
  elseif wanted == 'pause' then
    redis.call('HSET', run, 'state', 'paused', 'wanted', '')
    tell('paused')
  else return false end
  return true
end
local NAMES = {['?'] = 'waiting', b = 'waiting', a = 'answered', l = 'labeled', n = 'abstained', h = 'withheld',
               f = 'failed', s = 'skipped'}
local MAY = {['?'] = 'abfhs', b = '?abfhs', a = 'lnhfs', f = '?'}
local deltas, settled = {}, 0
local function bump(name, by)
  deltas[name] = (deltas[name] or 0) + by
end
local function save_counts()
  for name, by in pairs(deltas) do
    if by ~= 0 then redis.call('HINCRBY', run, name, by) end
  end
  if settled == 0 then return end
  local bucket = math.floor(time[1] / PACE_S)
  if redis.call('HINCRBY', pace, bucket, settled) == settled then
    for _, each in ipairs(redis.call('HKEYS', pace)) do
      if tonumber(each) < bucket - PACE_BUCKETS or tonumber(each) > bucket then redis.call('HDEL', pace, each) end
    end
  end
end
local function add(key, shard, by)
  if tonumber(redis.call('ZINCRBY', key, by, shard)) <= 0 then redis.call('ZREM', key, shard) end
end
local function shard_of(task)
  return redis.call('ZREVRANGEBYSCORE', shards, task, '-inf', 'LIMIT', 0, 1)[1]
end
local function move(shard, task, record, said)
  local key = run .. ':shard:' .. shard
  local old = redis.call('HGET', key, task)
  local from, to = string.sub(old or '', 1, 1), string.sub(record, 1, 1)
  if not old or not string.find(MAY[from] or '', to, 1, true) then return 0 end
  redis.call('HSET', key, task, record)
  bump(NAMES[from], -1)
  bump(NAMES[to], 1)
  if from == '?' then add(open, shard, -1) elseif to == '?' then add(open, shard, 1) end
  if NAMES[from] == 'waiting' and NAMES[to] ~= 'waiting' then settled = settled + 1 end
  if from == 'a' then
    add(unwritten, shard, -1)
    redis.call('HDEL', comments, task)
  end
  if from == 'f' then redis.call('ZREM', failed, task) end
  if to == 'a' then
    add(unwritten, shard, 1)
    if said ~= '' then redis.call('HSET', comments, task, said) end
  elseif to == 'f' then
    local code = redis.call('HGET', reasons, said)
    if not code then
      code = redis.call('HLEN', reasons) + 1
      redis.call('HSET', reasons, said, code)
    end
    redis.call('ZADD', failed, code, task)
  end
  return 1
end
"""
)
"""The run, and what more than one script does with it. What a script itself is told begins with ``ARGV[3]``.

``obey`` does what somebody has asked for: it ends or pauses the run; one that has batches at a provider is not
cancelled before these are called off. ``move`` takes a task from one state to another, and with it all that is counted
and kept of its state; a move that there is not (a task that is written stays so) is none. ``said`` is an answer's
comment, or why a task failed.
"""

OPEN = """
local project, asked_at, options = ARGV[3], ARGV[4], ARGV[5]
local holder = redis.call('HGET', going, project)
if holder and holder ~= id then
  local held = redis.call('HGET', string.sub(run, 1, -1 - #id) .. holder, 'state')
  if held and not OVER[held] then return holder end
end
if state and not OVER[state] then return id end
if not (state or options) then return false end
tell(options and 'queued' or 'retried')
if options then
  redis.call('HSET', run, 'options', options)
  for at = 6, #ARGV do redis.call('RPUSH', chosen, ARGV[at]) end
else
  each_key(function(key) redis.call('PERSIST', key) end)
  for _, task in ipairs(redis.call('ZRANGE', failed, 0, -1)) do move(shard_of(task), task, '?', '') end
  save_counts()
end
redis.call('HSET', run, 'state', 'queued', 'wanted', '', 'message', '', 'why', '', 'finished_at', '',
  'is_called_off', '', 'poll_at', '', 'batches_full', '', 'provider_away_since', '')
redis.call('HSET', going, project, id)
redis.call('ZADD', runs, 'NX', asked_at, id)
return ''
"""
"""A run becomes its project's: a new one by its options and the tasks that are chosen for it, an ended one without.
Else the id of the one that is.

The failed tasks of an ended one wait again.
"""

BEGIN = """
if not state then return false end
if OVER[state] then leave() return 0 end
if state == 'paused' then return 0 end
if not is_worked_on() and obey() then return 0 end
if state ~= 'running' then
  redis.call('HSET', run, 'state', 'running', 'running_since', time[1])
  tell('running')
end
redis.call('HSETNX', run, 'started_at', moment)
return 1
"""
"""A worker takes part in it (1), unless it is over or paused, or asked to be either while nobody is at it (0)."""

LEAVE = """
if not state then return false end
if not OVER[state] and state ~= 'paused' and not is_worked_on() and obey() then return 1 end
return 0
"""
"""A worker has left it; the last of them does what was asked for (1)."""

ASK = """
if not state then return false end
if OVER[state] then return 0 end
local wanted = redis.call('HGET', run, 'wanted')
if ARGV[3] == 'fail' or (wanted ~= 'cancel' and wanted ~= 'fail') then
  redis.call('HSET', run, 'wanted', ARGV[3])
  if ARGV[3] == 'fail' then redis.call('HSET', run, 'why', ARGV[4]) end
end
if (state ~= 'running' or not is_worked_on()) and not obey() and state == 'paused' then
  redis.call('HSET', run, 'state', 'queued')
end
return 1
"""
"""Its workers are asked to ``pause``, ``cancel`` or ``fail`` it; where none is at work it is done. 0: it is over."""

RESUME = """
if not state then return false end
if state == 'paused' then redis.call('HSET', run, 'state', 'queued')
elseif OVER[state] or redis.call('HGET', run, 'wanted') ~= 'pause' then return 0 end
redis.call('HSET', run, 'wanted', '')
tell('resumed')
return 1
"""
"""It is to go on. 0 where it is not paused, nor asked to be."""

END = """
if not state then return false end
if not OVER[state] then finish(ARGV[3], ARGV[4]) end
return 1
"""

SET = """
if not state then return false end
redis.call('HSET', run, unpack(ARGV, 3))
return 1
"""

COUNT = """
if not state then return false end
for place = 4, #ARGV, 2 do redis.call('HINCRBY', run, ARGV[place], ARGV[place + 1]) end
if tonumber(ARGV[3]) > 0 then redis.call('HINCRBYFLOAT', run, 'cost', ARGV[3]) end
return 1
"""
"""Dollars, then counters and what is added to them."""

TELL = """
if not state then return false end
tell(ARGV[3], ARGV[4])
return 1
"""
"""Something has happened to it that its history is to tell of: what, and why. The same again is not told again."""

ALL = (OPEN, BEGIN, LEAVE, ASK, RESUME, END, SET, COUNT, TELL)
