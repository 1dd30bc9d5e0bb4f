-- Takes back the claim with a nonce. KEYS: the record by each name. ARGV: nonce.
for _, key in ipairs(KEYS) do
  local record = redis.call('HMGET', key, 's', 'n')
  if record[1] == 'c' and record[2] == ARGV[1] then redis.call('DEL', key) end
end
return 1
