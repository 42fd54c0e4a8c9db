-- KEYS: the windows. ARGV: hold, least, comfort, most, share, lease_us, database, instance, and for
-- each window amount, slice_us, ttl_s. Returns {'ok', granted}, {'load', window} or
-- {'short', window, available, wait_us} (-1: only settlements can help).
local hold, least, comfort, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local share, lease_us = tonumber(ARGV[5]), tonumber(ARGV[6])

local function terms(n) -- of the n-th window
  local at = 8 + (n - 1) * 3
  return tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
end

local function wait_us(key, slice_us, missing)
  if slice_us == 0 then return -1 end
  for _, index in ipairs(redis.call('ZRANGE', key .. ':z', 0, -1)) do
    missing = missing - field(key, 's:' .. index)
    if missing <= 0 then return (tonumber(index) + 1 + SLICES) * slice_us - now end
  end
  return -1
end

for n, key in ipairs(KEYS) do
  local known = redis.call('HMGET', key, 'd:' .. ARGV[7], 'i:' .. ARGV[8])
  if not known[1] or not known[2] then return {'load', n} end
end

local available, tightest
for n, key in ipairs(KEYS) do
  local amount, slice_us = terms(n)
  roll(key, slice_us)
  local left = amount - field(key, 'spent') - field(key, 'reserved')
  if available == nil or left < available then available, tightest = left, n end
end

if available < least then
  local _, slice_us = terms(tightest)
  local wait = wait_us(KEYS[tightest], slice_us, least - available)
  return {'short', tightest, whole(available), whole(wait)}
end

local granted = math.min(most, available, math.max(comfort, math.floor(available / share)))
for n, key in ipairs(KEYS) do
  local _, _, ttl_s = terms(n)
  redis.call('HINCRBY', key, 'reserved', whole(granted - field(key, 'h:' .. hold)))
  redis.call('HSET', key, 'h:' .. hold, whole(granted))
  redis.call('ZADD', key .. ':l', whole(now + lease_us), hold)
  keep(key, ttl_s)
end
return {'ok', whole(granted)}
