-- Deletes a user whose every entry is in one of the declared keys, if no row refers to it. Otherwise nothing is written, and the reply is
-- what `row_and_referrers` would return first: the document.
--
-- KEYS: clock, expiry, ledger, schema, document, referrers, claims, then each view that may have the row.
-- ARGV: slot, sequence, until, writer, key, the member that the claim follows from.
local KEYS, ARGV, call = KEYS, ARGV, redis.call
local clock, expiry, ledger, schema, document, referrers, claims = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local text = call('GET', document)
if not text then
  return { 'MISSING' }
end
local value = string.match(text, '"' .. ARGV[6] .. '":"([^"\\\128-\255]*)"')
local lower = value and string.lower(value)
if not string.match(text, '^{"revision":%d+,"created":%d+,"expires":0,"op":"') or not lower or call('ZCARD', referrers) > 0 then
  return { 'READ', text }
end
if call('HGET', claims, lower) ~= ARGV[5] then
  return { 'READ', text }
end
local time = call('TIME')
local held = call('HGET', ledger, ARGV[1])
local latest = held and tonumber(string.match(held, '^(%d+) ') or ARGV[2])
if held and (not latest or latest >= tonumber(ARGV[2])) or time[1] * 1000000 + time[2] > tonumber(ARGV[3]) then
  return { 'LATE' }
end
if not tonumber(call('GET', clock) or 0) or call('HGET', schema, 'current') ~= ARGV[4] then
  return { 'LATE' }
end
local may_run = redis.acl_check_cmd
if may_run and not (may_run('del', clock) and may_run('hdel', clock, '1') and may_run('zadd', clock, '1', '1')) then
  return { 'LATE' }
end
for index = 8, #KEYS do
  call('ZREM', KEYS[index], ARGV[5])
end
call('HSET', ledger, ARGV[1], ARGV[2] .. ' OK')
call('HDEL', claims, lower)
call('DEL', document)
return { 'OK' }
