-- KEYS: one window. ARGV: database, instance, lease_us, ttl_s, slice_us, number of slices, then slice
-- and amount of each, then hold and amount of each. Returns 1 where something of the database's
-- slices was taken up.
local key, taken, slice_us, n_slices = KEYS[1], 0, tonumber(ARGV[5]), tonumber(ARGV[6])

-- Books what the database has and the window lacks, slice by slice, up to an amount.
local function take_up(missing)
  for at = 7, 6 + 2 * n_slices, 2 do
    local index, amount = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
    local lacking = math.min(missing, amount - field(key, 's:' .. whole(index)))
    if lacking > 0 then
      book(key, index, lacking)
      missing, taken = missing - lacking, 1
    end
  end
end

local function total()
  local sum = 0
  for at = 7, 6 + 2 * n_slices, 2 do
    if slice_us == 0 or tonumber(ARGV[at]) >= index_of(slice_us) - SLICES then
      sum = sum + tonumber(ARGV[at + 1])
    end
  end
  return sum
end

local is_new = redis.call('HSETNX', key, 'i:' .. ARGV[2], '1') == 1
if redis.call('HSETNX', key, 'd:' .. ARGV[1], '1') == 1 then
  for at = 7, 6 + 2 * n_slices, 2 do book(key, tonumber(ARGV[at]), tonumber(ARGV[at + 1])) end
  taken = 1
elseif is_new then
  -- spent while the window was not configured: the ledger knows of it
  roll(key, slice_us)
  take_up(total() - field(key, 'spent'))
end
if is_new then
  for at = 7 + 2 * n_slices, #ARGV, 2 do
    redis.call('HINCRBY', key, 'reserved', whole(tonumber(ARGV[at + 1]) - field(key, 'h:' .. ARGV[at])))
    redis.call('HSET', key, 'h:' .. ARGV[at], ARGV[at + 1])
    redis.call('ZADD', key .. ':l', whole(now + tonumber(ARGV[3])), ARGV[at])
  end
end
keep(key, tonumber(ARGV[4]))
return taken
