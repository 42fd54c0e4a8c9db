-- KEYS: one window. ARGV: database, instance, slice_us. Returns {spent, reserved}; {} where it has to be
-- loaded first.
local key = KEYS[1]
local known = redis.call('HMGET', key, 'd:' .. ARGV[1], 'i:' .. ARGV[2])
if not known[1] or not known[2] then return {} end
roll(key, tonumber(ARGV[3]))
return {whole(field(key, 'spent')), whole(field(key, 'reserved'))}
