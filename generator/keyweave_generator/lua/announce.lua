--@ purpose  Say in the registry of a group that its partitions are being doubled, or no more. What arrives late changes nothing.
--@ flags
--@ key      1     schema  registry of the first partition
--@ argument 1     target  number of partitions that there will be
--@ argument 2     what    `begins` or `ends`
--@ reply    DONE   the registry says so
--@ reply    SPLIT  the group has other numbers; nothing was changed

local target = tonumber(ARGV[1])
local doubling = tonumber(redis.call('HGET', KEYS[1], 'doubling') or 0)
if ARGV[2] == 'ends' then
  if doubling == target then
    redis.call('HDEL', KEYS[1], 'doubling')
  end
  return { 'DONE' }
end
if doubling ~= target then
  local number = tonumber(redis.call('HGET', KEYS[1], 'partitions') or 1)
  if number * 2 ~= target or doubling ~= 0 and doubling ~= number then
    return { 'SPLIT' }
  end
  redis.call('HSET', KEYS[1], 'doubling', target)
end
return { 'DONE' }
