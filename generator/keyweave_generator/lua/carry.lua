--@ purpose  Run commands in a partition whose clock has one suffix: while the partitions of a group are doubled.
--@ flags
--@ key      1     clock     of the partition
--@ key      2..   subjects  keys of the commands
--@ argument 1     suffix    that the clock must have
--@ argument 2..   commands  each as the number of its words, its name, the number of its key, and its other words; `release` removes a field of a hash that has one value
--@ reply    DONE         they have run
--@ reply    SPLIT  clock  the clock has another suffix; nothing was changed

local text = redis.call('GET', KEYS[1]) or ''
if string.sub(text, -#ARGV[1]) ~= ARGV[1] then
  return { 'SPLIT', text }
end
local at = 2
while at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  local verb, key = ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])]
  if verb == 'release' then
    if redis.call('HGET', key, ARGV[at + 3]) == ARGV[at + 4] then
      redis.call('HDEL', key, ARGV[at + 3])
    end
  else
    redis.call(verb, key, unpack(ARGV, at + 3, last))
  end
  at = last + 1
end
return { 'DONE' }
