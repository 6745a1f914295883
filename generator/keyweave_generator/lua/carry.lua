--@ purpose  Run commands in a partition whose clock has one suffix: while the partitions of a group are doubled.
--@ flags
--@ key      1     clock     of the partition
--@ key      2     changed   hash that holds the number of the newest batch, in a field named by the suffix
--@ key      3..   subjects  keys of the commands
--@ argument 1     suffix    that the clock must have
--@ argument 2     batch     number of the exchange that sent these commands: when a later one has run they do nothing; 0 for any order
--@ argument 3..   commands  each as the number of its words, its name, the number of its key, and its other words; `release` removes a field of a hash that has one value, `same` ends the commands unless a string begins with a text
--@ reply    DONE         they have run, or what they were to change is newer
--@ reply    SPLIT  clock  the clock has another suffix; nothing was changed

local text = redis.call('GET', KEYS[1]) or ''
local suffix, batch = ARGV[1], tonumber(ARGV[2])
if string.sub(text, -#suffix) ~= suffix then
  return { 'SPLIT', text }
end
if batch > 0 then
  if batch < tonumber(redis.call('HGET', KEYS[2], suffix) or 0) then
    return { 'DONE' }
  end
  redis.call('HSET', KEYS[2], suffix, ARGV[2])
end
local at = 3
while at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  local verb, key = ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])]
  if verb == 'same' then
    if redis.call('GETRANGE', key, 0, #ARGV[at + 3] - 1) ~= ARGV[at + 3] then
      return { 'DONE' }
    end
  elseif verb == 'release' then
    if redis.call('HGET', key, ARGV[at + 3]) == ARGV[at + 4] then
      redis.call('HDEL', key, ARGV[at + 3])
    end
  else
    redis.call(verb, key, unpack(ARGV, at + 3, last))
  end
  at = last + 1
end
return { 'DONE' }
