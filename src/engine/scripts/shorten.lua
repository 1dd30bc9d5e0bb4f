-- Lets a record end earlier. KEYS: the record by each name. ARGV: nonce or nothing, duration (ms).
for _, key in ipairs(KEYS) do
  local record = redis.call('HMGET', key, 's', 'n')
  if ARGV[1] == '' or (record[1] == 'c' and record[2] == ARGV[1]) then redis.call('PEXPIRE', key, ARGV[2], 'LT') end
end
return 1
