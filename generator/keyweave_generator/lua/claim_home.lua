--@ purpose  Give a key or unique value its home: the place that may hold it, under a new epoch. A home that it has stays, unless it was fenced.
--@ flags
--@ key      1     clock      last revision of the home's partition, which epochs come from as well
--@ key      2     homes      hash of homes: name -> place and epoch
--@ argument 1     name       the key or unique value
--@ argument 2     place      of the row: its partition among 1,024
--@ argument 3     fenced     the home that is to be replaced: its partition refuses its epoch; empty for none
--@ argument 4     until      server time in microseconds after which no home may be replaced, because the fence has a limited life
--@ reply    HOME      home   place and epoch as they are from here on
--@ reply    LATE      now    `until` has passed; nothing was changed
--@ reply    CORRUPT   key    the clock holds something that Keyweave did not write
--@ include  time
--@ include  permission

local now = server_time()
local home = redis.call('HGET', KEYS[2], ARGV[1])
if home and home ~= ARGV[3] then
  return { 'HOME', home }
end
if home and now > tonumber(ARGV[4]) then
  return { 'LATE', string.format('%d', now) }
end
local last = tonumber(redis.call('GET', KEYS[1]) or 0)
if not last then
  return { 'CORRUPT', 1 }
end
local refusal = refusal_of('hset', KEYS[2])
if refusal then
  return refusal
end
local epoch = string.format('%d', math.max(last, now - 1) + 1)
redis.call('SET', KEYS[1], epoch)
home = ARGV[2] .. ' ' .. epoch
redis.call('HSET', KEYS[2], ARGV[1], home)
return { 'HOME', home }
