-- Writes the heartbeat of a replica, and notices a new generation as a claim does.
-- KEYS: the generation, the heartbeat. ARGV: time to settle (ms), value of the heartbeat, its duration (ms).
-- Returns the generation and the time until it has settled (ms).
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local id = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
local known = redis.call('HMGET', KEYS[1], 'id', 'until')
if known[1] ~= id then
  known[2] = string.format('%.0f', now + ARGV[1])
  redis.call('HSET', KEYS[1], 'id', id, 'until', known[2])
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return { id .. '.' .. known[2], math.max(known[2] - now, 0) }
