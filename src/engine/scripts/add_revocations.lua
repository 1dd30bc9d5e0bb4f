-- Adds entries to the stream of revocations. KEYS: the stream. ARGV: the time for which entries are kept (ms), entries.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest = string.format('%.0f', math.max(now - ARGV[1], 0))
for i = 2, #ARGV do
  redis.call('XADD', KEYS[1], 'MINID', '~', oldest, '*', 'v', ARGV[i])
end
return #ARGV - 1
