-- Removes records that say that the session is over. KEYS: the record by each name.
for _, key in ipairs(KEYS) do
  local state = redis.call('HGET', key, 's')
  if state == 'dead' or state == 'replaced' or state == 'ended' then redis.call('DEL', key) end
end
return 1
