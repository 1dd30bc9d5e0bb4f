-- Claims a refresh token.
-- KEYS: the generation, then the record by each name. The first name is written.
-- ARGV: nonce, owner, duration of the claim (ms), time to settle (ms), beginning of heartbeats' keys, grace period (ms).
-- Returns a word, a value (sealed result, owner or ms), the generation, and the place of the record's name.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local id = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
local known = redis.call('HMGET', KEYS[1], 'id', 'until')
if known[1] ~= id then
  known[2] = string.format('%.0f', now + ARGV[4])
  redis.call('HSET', KEYS[1], 'id', id, 'until', known[2])
end
local generation = id .. '.' .. known[2]

local rank = { c = 1, dead = 2, ok = 3, ended = 4, replaced = 5 }
local best, mine, holder = 0, 0, nil
local records = {}
for i = 2, #KEYS do
  local record = redis.call('HMGET', KEYS[i], 's', 'v', 'n', 'o', 't')
  records[i] = record
  local state = record[1]
  if state and (rank[state] or 0) > 1 and (best == 0 or rank[state] > rank[records[best][1]]) then best = i end
  if state == 'c' then
    if record[3] == ARGV[1] then
      mine = i
    else
      local gone = redis.call('EXISTS', ARGV[5] .. record[4]) == 0
      local young = now - tonumber(record[5]) < ARGV[6] - 2000
      if not (gone and young) then holder = holder or record[4] end
    end
  end
end
if best > 0 then return { records[best][1], records[best][2] or '', generation, best - 2 } end
if mine > 0 then
  -- A write, so that WAIT waits for the claim and not for nothing.
  redis.call('HSET', KEYS[mine], 'n', ARGV[1])
  return { 'mine', '', generation, mine - 2 }
end
if now < tonumber(known[2]) then
  return { 'settling', string.format('%.0f', known[2] - now), generation, 0 }
end
if holder then return { 'busy', holder, generation, 0 } end
for i = 3, #KEYS do
  if records[i][1] then redis.call('DEL', KEYS[i]) end
end
redis.call('HSET', KEYS[2], 's', 'c', 'v', '', 'n', ARGV[1], 'o', ARGV[2], 't', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return { 'mine', '', generation, 0 }
