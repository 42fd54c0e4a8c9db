-- KEYS: one window. ARGV: hold, cost, database, only_if_held, slice_us, ttl_s.
-- Returns what is spent in the window by now, or -1 where it has to be loaded first.
local key, hold, cost, slice_us = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[5])
if redis.call('HEXISTS', key, 'd:' .. ARGV[3]) == 0 then return '-1' end
local held = redis.call('HGET', key, 'h:' .. hold)
roll(key, slice_us)
if redis.call('HDEL', key, 'h:' .. hold) == 1 then
  redis.call('HINCRBY', key, 'reserved', whole(-tonumber(held)))
  redis.call('ZREM', key .. ':l', hold)
elseif held then
  cost = cost - tonumber(held) -- given up just now, and booked in full
elseif ARGV[4] == '1' then
  cost = 0
end
book(key, index_of(slice_us), cost)
keep(key, tonumber(ARGV[6]))
return whole(field(key, 'spent'))
