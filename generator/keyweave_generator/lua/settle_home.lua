--@ purpose  Give a row that is there its home, when a group with one partition gets a second one: until then rows have no homes.
--@ flags
--@ key      1     clock     of the partition of the row, which is the only one
--@ key      2     homes     hash of homes: name -> place and epoch
--@ key      3     fence     of the key or unique value
--@ key      4     changed   hash of what changed while rows are copied
--@ key      5     row       document of the row
--@ argument 1     suffix    that the clock must have
--@ argument 2     name      the key or unique value
--@ argument 3     place     of the row
--@ argument 4     life      milliseconds for which a fence stands
--@ argument 5     noted     field of `changed` that stands for the home
--@ argument 6     head      what the document begins with: a row that was written since is noted, and gets its home later
--@ reply    DONE         the home names the place, or the row was written since
--@ reply    SPLIT  clock  the clock has another suffix; nothing was changed
--@ include  doubling

local text, suffix = redis.call('GET', KEYS[1]) or '', ARGV[1]
local last = parse_clock(text)
if not last or string.sub(text, -#suffix) ~= suffix then
  return { 'SPLIT', text }
end
if redis.call('GETRANGE', KEYS[5], 0, string.len(ARGV[6]) - 1) ~= ARGV[6] then
  return { 'DONE' }
end
local home = redis.call('HGET', KEYS[2], ARGV[2])
local place, epoch = string.match(home or '', '^(%d+) (%d+)$')
if place == ARGV[3] then
  return { 'DONE' }
end
local highest = tonumber(redis.call('HGET', KEYS[3], 'epoch') or 0)
if epoch and highest < tonumber(epoch) then
  redis.call('HSET', KEYS[3], 'epoch', epoch)
  redis.call('PEXPIRE', KEYS[3], ARGV[4])
  redis.call('HSET', KEYS[4], KEYS[3], epoch)
end
local given = string.format('%d', last + 1)
redis.call('SET', KEYS[1], given .. suffix)
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3] .. ' ' .. given)
redis.call('HSET', KEYS[4], ARGV[5], given)
return { 'DONE' }
