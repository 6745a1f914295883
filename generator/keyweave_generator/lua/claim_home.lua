--@ purpose  Give a key or unique value its home: the place that may hold it, under a new epoch. A home that it has stays, unless it was fenced.
--@ flags
--@ key      1     clock      last revision of the home's partition, which epochs come from as well
--@ key      2     homes      hash of homes: name -> place and epoch
--@ key      3     schema     registry of the home's partition
--@ key      4     changed    hash of what changed while rows are copied; left out where no doubling is known, like the arguments 6 to 8
--@ argument 1     name       the key or unique value
--@ argument 2     place      of the row: its partition among 1,024
--@ argument 3     fenced     the home that is to be replaced: its partition refuses its epoch; empty for none
--@ argument 4     until      server time in microseconds after which no home may be replaced, because the fence has a limited life
--@ argument 5     again      1 to write a home with this place again, so that what confirms writes confirms it; 0 not to
--@ argument 6     target     number of partitions that there will be, while they are doubled
--@ argument 7     has        what the partition has by then: `all` its rows, or `half`
--@ argument 8     noted      field of `changed` that stands for the home
--@ reply    HOME      home   place and epoch as they are from here on
--@ reply    LATE      now    `until` has passed; nothing was changed
--@ reply    SPLIT             partitions are being doubled, and the client does not know that, or has to wait
--@ reply    CORRUPT   key    the clock holds something that Keyweave did not write
--@ include  time
--@ include  permission
--@ include  doubling

local now = server_time()
local last, suffix, phase = parse_clock(redis.call('GET', KEYS[1]))
if not last then
  return { 'CORRUPT', 1 }
end
if (phase or ARGV[6]) and is_outdated(phase, KEYS[3], ARGV[6], ARGV[7]) then
  return { 'SPLIT' }
end
local home = redis.call('HGET', KEYS[2], ARGV[1])
if home and home ~= ARGV[3] then
  if ARGV[5] == '1' and string.match(home, '^(%d+) ') == ARGV[2] then
    redis.call('HSET', KEYS[2], ARGV[1], home)
  end
  return { 'HOME', home }
end
if home and now > tonumber(ARGV[4]) then
  return { 'LATE', string.format('%d', now) }
end
local refusal = refusal_of('hset', KEYS[2])
if refusal then
  return refusal
end
local epoch = string.format('%d', math.max(last, now - 1) + 1)
redis.call('SET', KEYS[1], epoch .. suffix)
home = ARGV[2] .. ' ' .. epoch
redis.call('HSET', KEYS[2], ARGV[1], home)
if phase == 'copy' then
  redis.call('HSET', KEYS[4], ARGV[8], epoch)
end
return { 'HOME', home }
