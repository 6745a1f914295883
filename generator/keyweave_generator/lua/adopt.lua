--@ purpose  Give a group its number of partitions, unless the namespace is in use: then it keeps the number that it has.
--@ flags
--@ key      1     schema  registry of the first partition
--@ argument 1     number  partitions that the group is to have
--@ reply    NUMBER  number  the partitions that it has

if not redis.call('HGET', KEYS[1], 'current') then
  redis.call('HSETNX', KEYS[1], 'partitions', ARGV[1])
end
return { 'NUMBER', redis.call('HGET', KEYS[1], 'partitions') or '1' }
