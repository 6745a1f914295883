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
--@ reply    SPLIT  clock  it has another suffix, the partition has so many already, or it was to stand still until now and does no more; nothing was changed
--@ reply    CORRUPT key   the clock holds something that Keyweave did not write
--@ include  doubling
--@ include  permission

local text = redis.call('GET', KEYS[1])
local revision, suffix, phase = parse_clock(text)
if not revision then
  return { 'CORRUPT', 1 }
end
local number = tonumber(redis.call('HGET', KEYS[2], 'partitions') or 1)
local begins = string.find(ARGV[2], ' copy', 1, true) or string.find(ARGV[2], ' frozen', 1, true)
local refused = not number or number > tonumber(ARGV[1]) or begins and number == tonumber(ARGV[1])
local name, permitted, at = text and (suffix == '' and 'begun' or suffix) or 'none', false, 5
while ARGV[at] do
  permitted = permitted or name == ARGV[at] and (phase ~= 'copy' or not string.find(name, 'frozen', 1, true) or ARGV[4] == '')
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
