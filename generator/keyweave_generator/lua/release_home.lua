--@ purpose  Remove the home of a key or unique value that is gone, if the home is still the one that was fenced.
--@ flags
--@ key      1     homes   hash of homes: name -> place and epoch
--@ argument 1     name    the key or unique value
--@ argument 2     fenced  the home: its partition refuses its epoch
--@ argument 3     until   server time in microseconds after which it may not be removed, because the fence has a limited life
--@ reply    GONE         the home is removed
--@ reply    HOME  home   it has another home, or none, which is empty
--@ reply    LATE  now    `until` has passed; nothing was changed
--@ include  time

local home = redis.call('HGET', KEYS[1], ARGV[1])
if home ~= ARGV[2] then
  return { 'HOME', home or '' }
end
local now = server_time()
if now > tonumber(ARGV[3]) then
  return { 'LATE', string.format('%d', now) }
end
redis.call('HDEL', KEYS[1], ARGV[1])
return { 'GONE' }
