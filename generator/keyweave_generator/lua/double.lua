--@ purpose  One step of a partition while the partitions of its group are doubled: its clock gets another suffix.
--@ flags
--@ key      1     clock     of the partition
--@ key      2     schema    registry of the partition
--@ key      3     changed   hash of what changed while rows are copied; a step that ends the copying removes it
--@ argument 1     target    number of partitions that there will be
--@ argument 2     suffix    that the clock gets
--@ argument 3     least     revision that the clock has at least from here on
--@ argument 4     number    number of partitions for which this one has its rows from here on, or empty
--@ argument 5..   present   the suffixes that the clock may have now, `begun` for a clock without one, and `none` for no clock
--@ reply    DONE   clock  as it is from here on
--@ reply    SPLIT  clock  it has another suffix, or the partition has as many or more; nothing was changed
--@ reply    CORRUPT key   the clock holds something that Keyweave did not write
--@ include  doubling
--@ include  permission

local text = redis.call('GET', KEYS[1])
local revision, suffix = parse_clock(text)
if not revision then
  return { 'CORRUPT', 1 }
end
local number = tonumber(redis.call('HGET', KEYS[2], 'partitions') or 1)
local refused = not number or number > tonumber(ARGV[1])
if ARGV[2] ~= '' and not string.find(ARGV[2], 'moved', 1, true) then
  -- A partition that has its rows already cannot go back.
  refused = refused or number == tonumber(ARGV[1])
end
local name, permitted, at = text and (suffix == '' and 'begun' or suffix) or 'none', false, 5
while ARGV[at] do
  permitted = permitted or name == ARGV[at]
  at = at + 1
end
if refused or not permitted then
  return { 'SPLIT', text or '' }
end
local refusal = refusal_of('hset', KEYS[1]) or refusal_of('del', KEYS[1])
if refusal then
  return refusal
end
text = string.format('%d', math.max(revision, tonumber(ARGV[3]))) .. ARGV[2]
redis.call('SET', KEYS[1], text)
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[2], 'partitions', ARGV[4])
  redis.call('DEL', KEYS[3])
end
return { 'DONE', text }
