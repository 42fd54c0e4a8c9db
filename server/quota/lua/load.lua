-- KEYS: one window. ARGV: database, instance, lease_us, ttl_s, number of slices, then slice and
-- amount of each, then hold and amount of each. Returns 1 where the database's slices were taken up.
local key, taken = KEYS[1], 0
local n_slices = tonumber(ARGV[5])
if redis.call('HSETNX', key, 'd:' .. ARGV[1], '1') == 1 then
  taken = 1
  for at = 6, 5 + 2 * n_slices, 2 do book(key, tonumber(ARGV[at]), tonumber(ARGV[at + 1])) end
end
if redis.call('HSETNX', key, 'i:' .. ARGV[2], '1') == 1 then
  for at = 6 + 2 * n_slices, #ARGV, 2 do
    redis.call('HINCRBY', key, 'reserved', whole(tonumber(ARGV[at + 1]) - field(key, 'h:' .. ARGV[at])))
    redis.call('HSET', key, 'h:' .. ARGV[at], ARGV[at + 1])
    redis.call('ZADD', key .. ':l', whole(now + tonumber(ARGV[3])), ARGV[at])
  end
end
keep(key, tonumber(ARGV[4]))
return taken
