"""What happens to a run in one step, as scripts that Redis does whole: nobody ever sees half of it, or comes between.

A run that was forgotten is not brought back: each script says false (Python's None) where there is none any more.
``runs`` calls them.
"""

PRELUDE = """
local run, failed, again, lease, going, runs = unpack(KEYS)
local id, moment = ARGV[1], ARGV[2]
local OVER = {succeeded = true, failed = true, canceled = true}
local state = redis.call('HGET', run, 'state')
local function take_back_unwritten()
  for _, name in ipairs({'labeled', 'abstained'}) do
    redis.call('HINCRBY', run, name, 0 - (redis.call('HGET', run, 'unwritten_' .. name) or 0))
    redis.call('HDEL', run, 'unwritten_' .. name)
  end
end
local function leave()
  local project = string.format('%.0f', cjson.decode(redis.call('HGET', run, 'options')).project)
  if redis.call('HGET', going, project) == id then redis.call('HDEL', going, project) end
end
local function finish(as, message)
  take_back_unwritten()
  redis.call('HSET', run, 'state', as, 'wanted', '', 'message', message, 'finished_at', moment)
  leave()
end
local function pause()
  take_back_unwritten()
  redis.call('HSET', run, 'state', 'paused', 'wanted', '')
end
"""
"""The run, and what more than one script does with it. What a script itself is told begins with ``ARGV[3]``.

What was answered and never written, since its worker died, is uncounted as the run ends, pauses or goes on.
"""

OPEN = """
local project, asked_at, options = ARGV[3], ARGV[4], ARGV[5]
local holder = redis.call('HGET', going, project)
if holder and holder ~= id then
  local held = redis.call('HGET', string.sub(run, 1, -1 - #id) .. holder, 'state')
  if held and not OVER[held] then return holder end
end
if state and not OVER[state] then return id end
if options then
  redis.call('HSET', run, 'options', options)
elseif not state then
  return false
else
  local asked = cjson.decode(redis.call('HGET', run, 'options'))
  if not (asked.only_missing or asked.refresh) then
    for _, task in ipairs(redis.call('HKEYS', failed)) do redis.call('SADD', again, task) end
  end
  redis.call('DEL', failed)
  redis.call('HSET', run, 'failed', 0)
end
redis.call('HSET', run, 'state', 'queued', 'wanted', '', 'message', '', 'finished_at', '')
redis.call('HSET', going, project, id)
redis.call('ZADD', runs, 'NX', asked_at, id)
return ''
"""
"""A run becomes its project's: a new one by its options, an ended one without. Else the id of the one that is.

The failed tasks of an ended one are to be tried again. Where it leaves alone what has a prediction, it finds them by
their having none; else they are noted.
"""

BEGIN = """
if not state then return false end
if OVER[state] then leave() return 0 end
local wanted = redis.call('HGET', run, 'wanted')
if wanted == 'cancel' then finish('canceled', '') return 0 end
if wanted == 'pause' then pause() end
if wanted == 'pause' or state == 'paused' then return 0 end
redis.call('HSET', run, 'state', 'running')
redis.call('HSETNX', run, 'started_at', moment)
take_back_unwritten()
return 1
"""
"""Its worker goes to work (1), unless it is over, paused, or asked to be either (0)."""

ASK = """
if not state then return false end
if OVER[state] then return 0 end
if state == 'running' and redis.call('EXISTS', lease) == 1 then
  if redis.call('HGET', run, 'wanted') ~= 'cancel' then redis.call('HSET', run, 'wanted', ARGV[3]) end
elseif ARGV[3] == 'cancel' then
  finish('canceled', '')
else
  pause()
end
return 1
"""
"""Its worker is asked to ``pause`` or ``cancel``; where none is at work it is done. 0 where the run is over."""

RESUME = """
if not state then return false end
if state == 'paused' then redis.call('HSET', run, 'state', 'queued')
elseif OVER[state] or redis.call('HGET', run, 'wanted') ~= 'pause' then return 0 end
redis.call('HSET', run, 'wanted', '')
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

TAKE_BACK = """
if not state then return false end
take_back_unwritten()
return 1
"""

FAIL = """
if not state then return false end
redis.call('HSET', failed, unpack(ARGV, 3))
return 1
"""

ALL = (OPEN, BEGIN, ASK, RESUME, END, SET, COUNT, TAKE_BACK, FAIL)
