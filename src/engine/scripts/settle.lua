-- Ends a reservation. KEYS: buckets. ARGV: 'failed', 'succeeded' or 'unknown', then as for a reservation.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i, key in ipairs(KEYS) do
  local leak, most = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local bucket = redis.call('HMGET', key, 'tat', 'way', 'until')
  local tat, way, over = math.max(tonumber(bucket[1]) or 0, now), tonumber(bucket[2]) or 0, bucket[3] or '0'
  if tonumber(over) <= now then way = 0 end
  way = math.max(way - 1, 0)
  if ARGV[1] == 'failed' then tat = math.min(tat + leak, now + leak * most) end
  if ARGV[1] == 'succeeded' and i == 1 then tat = now end
  if way == 0 and tat <= now then
    redis.call('DEL', key)
  else
    redis.call('HSET', key, 'tat', string.format('%.0f', tat), 'way', way, 'until', over)
    redis.call('PEXPIRE', key, string.format('%.0f', tat - now + 30000))
  end
end
return 1
