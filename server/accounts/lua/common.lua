-- One hash for each window: spent, reserved (nanodollars), s:SLICE, h:HOLD, d:DATABASE, i:INSTANCE.
-- Beside it two sorted sets: :z slices by number, :l holds by the time at which they are given up; and
-- for a day :g:HOLD, what was booked for a hold that its gateway has not settled itself.
local SLICES = 1000
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

local function whole(number) return string.format('%.0f', number) end

local function field(key, name) return tonumber(redis.call('HGET', key, name) or '0') end

local function index_of(slice_us)
  if slice_us == 0 then return 0 end
  return math.floor(now / slice_us)
end

local function book(key, index, amount)
  if amount == 0 then return end
  redis.call('HINCRBY', key, 's:' .. whole(index), whole(amount))
  redis.call('HINCRBY', key, 'spent', whole(amount))
  redis.call('ZADD', key .. ':z', whole(index), whole(index))
end

-- Takes a slice out of what is spent, and returns its amount.
local function take_out(key, index)
  local amount = field(key, 's:' .. index)
  redis.call('HINCRBY', key, 'spent', whole(-amount))
  redis.call('HDEL', key, 's:' .. index)
  redis.call('ZREM', key .. ':z', index)
  return amount
end

-- Ends a hold, and returns what it had reserved.
local function let_go(key, hold)
  local amount = field(key, 'h:' .. hold)
  redis.call('HDEL', key, 'h:' .. hold)
  redis.call('ZREM', key .. ':l', hold)
  redis.call('HINCRBY', key, 'reserved', whole(-amount))
  return amount
end

local function given(key, hold) return key .. ':g:' .. hold end

local function note_given(key, hold, amount)
  redis.call('SET', given(key, hold), whole(amount), 'EX', 86400)
end

local function roll(key, slice_us)
  if slice_us > 0 then
    -- the clock was set back: spent in the future is spent now, or it would stay until then
    local ahead = redis.call('ZRANGEBYSCORE', key .. ':z', whole(index_of(slice_us) + 2), '+inf')
    for _, index in ipairs(ahead) do book(key, index_of(slice_us), take_out(key, index)) end
    local gone = redis.call('ZRANGEBYSCORE', key .. ':z', '-inf', whole(index_of(slice_us) - SLICES - 1))
    for _, index in ipairs(gone) do take_out(key, index) end
  end
  -- a gateway died with these and nobody settled them: they are taken to have cost all they could
  for _, hold in ipairs(redis.call('ZRANGEBYSCORE', key .. ':l', '-inf', whole(now), 'LIMIT', 0, 100)) do
    local amount = let_go(key, hold)
    note_given(key, hold, amount)
    book(key, index_of(slice_us), amount)
  end
end

local function keep(key, ttl_s)
  if ttl_s > 0 then
    redis.call('EXPIRE', key, ttl_s)
    redis.call('EXPIRE', key .. ':z', ttl_s)
    redis.call('EXPIRE', key .. ':l', ttl_s)
  end
end
