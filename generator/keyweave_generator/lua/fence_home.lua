--@ purpose  Refuse inserts of an epoch in the partition of a home, if the row or unique value is not there.
--@ flags
--@ key      1     place   the document of the row, or the hash of the unique constraint
--@ key      2     fence   hash whose field `epoch` is the highest epoch that is refused
--@ key      3     clock   of the partition; this and the others are left out where no doubling is known
--@ key      4     schema  registry of the partition
--@ key      5     changed hash of what changed while rows are copied
--@ argument 1     kind    `row`, or `value` for a unique value
--@ argument 2     value   the unique value; empty for a row
--@ argument 3     epoch   of the home that is to be replaced or removed
--@ argument 4     life    milliseconds for which the fence stands
--@ argument 5     target  number of partitions that there will be, while they are doubled
--@ argument 6     has     what the partition has by then: `all` its rows, or `half`
--@ reply    1 when inserts of the epoch are refused from here on, 0 when the row or value is there
--@ reply    SPLIT  partitions are being doubled, and the client does not know that, or has to wait
--@ include  permission
--@ include  doubling

local place, fence, epoch = KEYS[1], KEYS[2], tonumber(ARGV[3])
local phase
if ARGV[5] then
  phase = select(3, parse_clock(redis.call('GET', KEYS[3])))
  if is_outdated(phase, KEYS[4], ARGV[5], ARGV[6]) then
    return { 'SPLIT' }
  end
end
local present
if ARGV[1] == 'value' then
  present = redis.call('HGET', place, ARGV[2])
else
  present = redis.call('EXISTS', place) == 1
end
if present then
  return 0
end
local highest = tonumber(redis.call('HGET', fence, 'epoch') or 0)
local refusal = refusal_of('pexpire', fence)
if refusal then
  return refusal
end
if not highest or highest < epoch then
  redis.call('HSET', fence, 'epoch', ARGV[3])
end
redis.call('PEXPIRE', fence, ARGV[4])
if phase == 'copy' then
  redis.call('HSET', KEYS[5], fence, ARGV[3])
end
return 1
