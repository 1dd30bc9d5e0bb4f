-- Writes a record unless there is one that is at least as strong. It may be repeated.
-- KEYS: the record by each name. The first name is written.
-- ARGV: state, value, nonce, owner, duration (ms), channel, message.
-- Returns nothing if the record was written, else the state, the value, and the place of the stronger record.
local rank = { c = 1, dead = 2, ok = 3, ended = 4, replaced = 5 }
local best, best_state = 0, nil
local present = {}
for i, key in ipairs(KEYS) do
  local state = redis.call('HGET', key, 's')
  if state then
    present[i] = true
    if best == 0 or (rank[state] or 0) > (rank[best_state] or 0) then best, best_state = i, state end
  end
end
if best > 0 and (rank[best_state] or 0) >= rank[ARGV[1]] then
  if best_state == 'c' and redis.call('HGET', KEYS[best], 'n') ~= ARGV[3] then
    -- An old copy may have a claim that was taken back. Its release must not end this claim, so nobody's release does.
    redis.call('HSET', KEYS[best], 'n', '', 't', '0')
    redis.call('PEXPIRE', KEYS[best], ARGV[5], 'GT')
  end
  return { best_state, redis.call('HGET', KEYS[best], 'v') or '', best - 1 }
end
for i = 2, #KEYS do
  if present[i] then redis.call('DEL', KEYS[i]) end
end
-- The age of a claim that is asserted again is not known, so it counts as old and nobody takes it over.
redis.call('HSET', KEYS[1], 's', ARGV[1], 'v', ARGV[2], 'n', ARGV[3], 'o', ARGV[4], 't', '0')
redis.call('PEXPIRE', KEYS[1], ARGV[5])
if ARGV[7] ~= '' then redis.call('PUBLISH', ARGV[6], ARGV[7]) end
return {}
