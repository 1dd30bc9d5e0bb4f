-- Takes a place in each bucket, or in none. A bucket has the time when it is empty without the logins on their way
-- (`tat`), their number (`way`), and the time after which that number counts as 0 (`until`).
-- KEYS: buckets. ARGV: for each bucket the time after which one failure is forgotten (ms), and the number at once.
-- Returns 'yes', 'failed' and the time to wait (ms), or 'way'.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local wait, is_full = 0, false
local levels, ways = {}, {}
for i, key in ipairs(KEYS) do
  local leak, most = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local bucket = redis.call('HMGET', key, 'tat', 'way', 'until')
  levels[i] = math.max((tonumber(bucket[1]) or 0) - now, 0)
  ways[i] = tonumber(bucket[2]) or 0
  if (tonumber(bucket[3]) or 0) <= now then ways[i] = 0 end
  local brim = leak * math.max(most - 1, 0)
  wait = math.max(wait, levels[i] - brim)
  if levels[i] + ways[i] * leak > brim then is_full = true end
end
if wait > 0 then return { 'failed', wait } end
if is_full then return { 'way', 0 } end
for i, key in ipairs(KEYS) do
  local tat, over = string.format('%.0f', now + levels[i]), string.format('%.0f', now + 30000)
  redis.call('HSET', key, 'tat', tat, 'way', ways[i] + 1, 'until', over)
  redis.call('PEXPIRE', key, string.format('%.0f', levels[i] + 30000))
end
return { 'yes', 0 }
