-- KEYS: one window, and the settlement. ARGV: hold, cost, database, only_if_held, slice_us, ttl_s, and
-- the seconds for which the settlement is remembered: sent again without need, it is booked once.
-- Returns what is spent in the window by now, or -1 where it has to be loaded first.
local key, hold, cost, slice_us = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[5])
if redis.call('HEXISTS', key, 'd:' .. ARGV[3]) == 0 then return '-1' end
roll(key, slice_us)
if redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[7]) then
  local given_up = redis.call('GET', given(key, hold))
  if redis.call('HEXISTS', key, 'h:' .. hold) == 1 then
    let_go(key, hold)
    -- a gateway that was taken for dead may live, and settles it itself: then that cost counts
    if ARGV[4] == '1' then note_given(key, hold, cost) end
  elseif given_up then
    cost = cost - tonumber(given_up) -- it was booked in full
    redis.call('DEL', given(key, hold))
  elseif ARGV[4] == '1' then
    cost = 0
  end
  book(key, index_of(slice_us), cost)
end
keep(key, tonumber(ARGV[6]))
return whole(field(key, 'spent'))
