-- Reads the strongest record. KEYS: the record by each name. Returns its state, its value and its place, or nothing.
local rank = { c = 1, dead = 2, ok = 3, ended = 4, replaced = 5 }
local best, best_state = 0, nil
for i, key in ipairs(KEYS) do
  local state = redis.call('HGET', key, 's')
  if state and (best == 0 or (rank[state] or 0) > (rank[best_state] or 0)) then best, best_state = i, state end
end
if best == 0 then return {} end
return { best_state, redis.call('HGET', KEYS[best], 'v') or '', best - 1 }
