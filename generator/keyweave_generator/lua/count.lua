--@ purpose  Sizes of views without the rows that are past their deadline and wait to be swept.
--@ flags    no-writes
--@ key      1     expiry
--@ key      2..   views
--@ argument 1     prefix  how members of the expiry set begin for this entity
--@ argument 2     bound   most unswept rows to look at
--@ reply    number...     one for each view
--@ reply    SWEEP_FIRST   there are more unswept rows than the bound
--@ include  time

local expiry, prefix, bound = KEYS[1], ARGV[1], tonumber(ARGV[2])
local dead = redis.call('ZRANGEBYSCORE', expiry, '-inf', string.format('%.0f', server_time()), 'LIMIT', 0, bound + 1)
if #dead > bound then
  return { 'SWEEP_FIRST' }
end
local reply = {}
for index = 2, #KEYS do
  local count = redis.call('ZCARD', KEYS[index])
  for _, row in ipairs(dead) do
    if count > 0 and string.sub(row, 1, #prefix) == prefix
      and redis.call('ZSCORE', KEYS[index], string.sub(row, #prefix + 1)) then
      count = count - 1
    end
  end
  reply[index - 1] = count
end
return reply
