-- A token bucket. KEYS: one hash. ARGV: per_minute, amount, owe. Returns how long to wait, in us.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local per_minute, amount = tonumber(ARGV[1]), tonumber(ARGV[2])
local bucket = redis.call('HMGET', KEYS[1], 'level', 'at')
local level, at = tonumber(bucket[1] or ARGV[1]), tonumber(bucket[2] or now)
level = math.min(per_minute, level + math.max(0, now - at) * per_minute / 60000000)
local needed, wait = math.max(1, amount), 0
if ARGV[3] == '0' and level < needed then
  wait = math.ceil((needed - level) * 60000000 / per_minute)
else
  level = level - amount
end
redis.call('HSET', KEYS[1], 'level', string.format('%.6f', level), 'at', string.format('%.0f', now))
-- full again by then, debts paid
local full_s = math.ceil((per_minute - level) * 60 / per_minute) + 60
redis.call('EXPIRE', KEYS[1], full_s)
return wait
