--@ purpose  Remove the home of a key or unique value that is gone, if the home is still the one that was fenced.
--@ flags
--@ key      1     homes   hash of homes: name -> place and epoch
--@ key      2     clock   of the partition; this and the others are left out where no doubling is known
--@ key      3     schema  registry of the partition
--@ key      4     changed hash of what changed while rows are copied
--@ argument 1     name    the key or unique value
--@ argument 2     fenced  the home: its partition refuses its epoch
--@ argument 3     until   server time in microseconds after which it may not be removed, because the fence has a limited life
--@ argument 4     target  number of partitions that there will be, while they are doubled
--@ argument 5     has     what the partition has by then: `all` its rows, or `half`
--@ argument 6     noted   field of `changed` that stands for the home
--@ reply    GONE         the home is removed
--@ reply    HOME  home   it has another home, or none, which is empty
--@ reply    LATE  now    `until` has passed; nothing was changed
--@ reply    SPLIT        partitions are being doubled, and the client does not know that, or has to wait
--@ include  time
--@ include  doubling

local phase
if ARGV[4] then
  phase = select(3, parse_clock(redis.call('GET', KEYS[2])))
  if is_outdated(phase, KEYS[3], ARGV[4], ARGV[5]) then
    return { 'SPLIT' }
  end
end
local home = redis.call('HGET', KEYS[1], ARGV[1])
if home ~= ARGV[2] then
  return { 'HOME', home or '' }
end
local now = server_time()
if now > tonumber(ARGV[3]) then
  return { 'LATE', string.format('%d', now) }
end
redis.call('HDEL', KEYS[1], ARGV[1])
if phase == 'copy' then
  redis.call('HSET', KEYS[4], ARGV[6], ARGV[2])
end
return { 'GONE' }
