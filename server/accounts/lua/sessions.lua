-- Stores entries of sessions. KEYS: theirs. ARGV: ttl_s, and for each entry its kind and value; a
-- value begins with '=' and the id of what it holds. The kinds: 's', the session of a name, of which
-- the first one stays; 'c', a call, which is marked '?' where another answer has made one with the
-- same id; 'b', anything else. Returns, for each entry, the session that was there first, or ''.
local ttl_s, ID = ARGV[1], 16
local found = {}

for n, key in ipairs(KEYS) do
  local kind, value = ARGV[2 * n], ARGV[2 * n + 1]
  local old = kind ~= 'b' and redis.call('GET', key)
  local is_other = old and string.sub(old, 2, 1 + ID) ~= string.sub(value, 2, 1 + ID)
  found[n] = ''
  if kind == 's' and is_other then
    found[n] = old
    redis.call('EXPIRE', key, ttl_s)
  else
    if kind == 'c' and old and (is_other or string.sub(old, 1, 1) == '?') then
      value = '?' .. string.sub(value, 2)
    end
    redis.call('SET', key, value, 'EX', ttl_s)
  end
end
return found
