-- Inserts a row, or replaces a live one whose index entries follow from what the caller says of it. Refuses any other row with its
-- document. It does what `put_one` of the script `apply` does, with two more guards.
--
-- ARGV[1] op, [2] slot, [3] sequence, [4] until, [5] writer, [6] number of targets, [7] entries that never change, [8] entries that follow
-- from the state, [9] member of views, [10] state, [11] proof, then what the proof needs: [12], [13], [14]; [15] body, [16..] other states.
-- KEYS: clock, expiry, ledger, schema, document, targets, entries that never change, those of the state, those of the other states in order.
local KEYS, ARGV, call, format = KEYS, ARGV, redis.call, string.format
local clock, expiry, ledger, schema, document = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local targets, fixed, moving = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local member, state, proof, body = ARGV[9], ARGV[10], ARGV[11], ARGV[15]
local text = call('GETRANGE', document, 0, proof == 'decode' and -1 or 127)
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local held = call('HGET', ledger, ARGV[2])
local latest = held and tonumber(string.match(held, '^(%d+) ') or ARGV[3])
if held and (not latest or latest >= tonumber(ARGV[3])) or now > tonumber(ARGV[4]) then
  return { 'LATE' }
end

local function refused()
  return { 'EXISTS', '1', '', call('GET', document) }
end

local created, before
if text ~= '' then
  local revision, first, op = string.match(text, '^{"revision":(%d+),"created":(%d+),"expires":0,"op":"([^"]*)"')
  if not revision then
    return refused()
  end
  created = first
  if proof == 'decode' then
    -- ARGV[12] names of members, [13] names and values that must be there, [14] the member of the state.
    local ok, row = pcall(cjson.decode, text)
    if not ok then
      return refused()
    end
    for name in pairs(row) do
      if not string.find(ARGV[12], ' ' .. name .. ' ', 1, true) then
        return refused()
      end
    end
    for name, value in pairs(cjson.decode(ARGV[13])) do
      if row[name] ~= (value ~= cjson.null and value or nil) then
        return refused()
      end
    end
    before = row[ARGV[14]]
  else
    -- ARGV[12] the digest of everything but the state, which follows it in the op.
    local at = string.find(op, ARGV[12], 1, true)
    if not at then
      return refused()
    end
    before = string.sub(op, at + #ARGV[12])
  end
elseif call('ZSCORE', expiry, string.sub(document, #expiry - 6)) then
  return { 'FREED', '1', '' }
end
local other
if before and before ~= state then
  for index = 16, #ARGV do
    if ARGV[index] == before then
      other = index - 16
    end
  end
  if not other then
    return refused()
  end
end
for index = 6, created and 5 or 5 + targets do
  local target = call('GETRANGE', KEYS[index], 0, 127)
  local expires = string.match(target, '^{"revision":%d+,"created":%d+,"expires":(%d+),"op":"')
  if not expires or expires ~= '0' and tonumber(expires) <= now then
    return { 'NO_TARGET', '1', '' }
  end
end
if call('HGET', schema, 'current') ~= ARGV[5] then
  return { 'LATE' }
end
local may_run = redis.acl_check_cmd
if may_run and not (may_run('zadd', clock, '1', '1') and may_run('zrem', clock, '1')) then
  return { 'LATE' }
end
local written = format('%d', now)
local last = tonumber(call('SET', clock, written, 'GET') or 0)
if last >= now then
  written = format('%d', last + 1)
  call('SET', clock, written)
end
local views = 5 + targets
for index = created and fixed + 1 or 1, (created and not other) and 0 or fixed + moving do
  call('ZADD', KEYS[views + index], created or written, member)
end
if other then
  local from = views + fixed + moving * (other + 1)
  for index = from + 1, from + moving do
    call('ZREM', KEYS[index], member)
  end
end
created = created or written
call('HSET', ledger, ARGV[2], ARGV[3] .. ' OK ' .. written .. ' ' .. created .. ' 0')
call('SET', document, '{"revision":' .. written .. ',"created":' .. created .. ',"expires":0,"op":"' .. ARGV[1] .. '"' .. body)
return { 'OK', written, created, '0' }
