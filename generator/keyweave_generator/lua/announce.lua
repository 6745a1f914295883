--@ purpose  Say in the registry of a group that its partitions are being doubled, or no more. What arrives late changes nothing.
--@ flags
--@ key      1     schema  registry of the first partition
--@ argument 1     target  number of partitions that there will be
--@ argument 2     time    server time in microseconds at which the doubling is announced; empty at its end
--@ reply    DONE   announced  time of the announcement; it is earlier where another doubling went before
--@ reply    SPLIT             the group has other numbers; nothing was changed

local target = tonumber(ARGV[1])
local doubling = tonumber(redis.call('HGET', KEYS[1], 'doubling') or 0)
if ARGV[2] == '' then
  if doubling == target then
    redis.call('HDEL', KEYS[1], 'doubling', 'announced')
  end
  return { 'DONE', '' }
end
if doubling ~= target then
  local number = tonumber(redis.call('HGET', KEYS[1], 'partitions') or 1)
  if number * 2 ~= target or doubling ~= 0 and doubling ~= number then
    return { 'SPLIT' }
  end
  redis.call('HSETNX', KEYS[1], 'announced', ARGV[2])
  redis.call('HSET', KEYS[1], 'doubling', target)
end
return { 'DONE', redis.call('HGET', KEYS[1], 'announced') or ARGV[2] }
