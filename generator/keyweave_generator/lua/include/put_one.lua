-- Applies the plan that puts one row without a deadline, which is nearly every plan, with fewer commands. Returns nil, and has written
-- nothing, when the plan is another one, or when anything rare or a guard is in its way: then `apply` goes on.
--
-- The types of views are not read before the first write. If one of them is no sorted set, its command fails, and what was written until
-- then is undone. So the user must be permitted to undo it: each command is the first write, has been called, or is asked for.
local function put_one()
  local KEYS, ARGV, call, try = KEYS, ARGV, redis.call, redis.pcall
  local at, final = 13, #ARGV
  local guard = ARGV[at]
  local rows = at + (guard == 'revision' and 4 or 2)
  if guard ~= 'revision' and guard ~= 'absent' then
    return nil
  end
  while ARGV[rows] ~= 'rows' do
    if ARGV[rows] == 'exists' then
      rows = rows + 2
    elseif ARGV[rows] == 'free' then
      rows = rows + 4
    else
      return nil
    end
  end
  if ARGV[rows + 1] ~= 'put' or rows + 6 + ARGV[rows + 6] ~= final or ARGV[rows + 4] ~= '0' then
    return nil
  end
  if ARGV[at + 1] ~= '1' or ARGV[rows + 2] ~= '1' or ARGV[8] ~= '' or ARGV[9] ~= '' then
    return nil
  end

  -- The row and its guard.
  local DOCUMENTS, clock, expiry, ledger = 4, KEYS[1], KEYS[2], KEYS[3]
  local document = KEYS[DOCUMENTS + 1]
  local text = call('GETRANGE', document, 0, 127)
  local revision, created
  if guard == 'revision' then
    local op
    revision, created, op = string.match(text, '^{"revision":(%d+),"created":(%d+),"expires":0,"op":"([^"]*)"')
    if revision ~= ARGV[at + 2] or op ~= ARGV[at + 3] and ARGV[at + 3] ~= '' then
      return nil
    end
    at = at + 4
  elseif text == '' then
    at = at + 2
  else
    return nil
  end

  local time = call('TIME')
  local now = time[1] * 1000000 + time[2]
  local slot, sequence = ARGV[2], ARGV[3]
  local held = call('HGET', ledger, slot)
  local latest = held and tonumber(string.match(held, '^(%d+) ') or sequence)
  if not latest or latest >= tonumber(sequence) or now > tonumber(ARGV[4]) then
    return nil
  end
  -- If the native TTL freed an earlier row of this key, its deadline is still in the expiry set. The member is the key without its tag.
  if not revision and call('ZSCORE', expiry, string.sub(document, #expiry - 6)) then
    return nil
  end

  -- The other guards.
  local views, claims = tonumber(ARGV[6]), tonumber(ARGV[7])
  while at < rows do
    if ARGV[at] == 'exists' then
      local target = call('GETRANGE', KEYS[DOCUMENTS + ARGV[at + 1]], 0, 127)
      local expires = string.match(target, '^{"revision":%d+,"created":%d+,"expires":(%d+),"op":"')
      if not expires or expires ~= '0' and tonumber(expires) <= now then
        return nil
      end
      at = at + 2
    else
      local owner = call('HGET', KEYS[claims + ARGV[at + 1]], ARGV[at + 2])
      if owner and owner ~= ARGV[at + 3] then
        return nil
      end
      at = at + 4
    end
  end
  if call('HGET', KEYS[4], 'current') ~= ARGV[10] then
    return nil
  end

  -- What may be undone, and what follows the entries. A constraint with a guard was read in its type by the guard.
  local may_run, commands = redis.acl_check_cmd, ARGV[12]
  local releases = string.find(commands, ' hdel', 1, true)
  if releases then
    for index = claims + 1, #KEYS do
      call('HLEN', KEYS[index])
    end
  end
  if may_run then
    if string.find(commands, ' zrem', 1, true) then
      if not may_run('zadd', clock, '1', '1') then
        return nil
      end
    elseif views < claims and not may_run('zrem', clock, '1') then
      return nil
    end
    if claims < #KEYS and not may_run('hset', clock, '1', '1') then
      return nil
    end
    if releases and not (may_run('hget', clock, '1') and may_run('hdel', clock, '1')) then
      return nil
    end
  end

  -- The clock is read and moved by one command.
  local written = string.format('%d', now)
  local before = call('SET', clock, written, 'GET')
  local last, failure = tonumber(before or 0), nil
  if not last then
    -- Partitions are being doubled, or it is damaged.
    failure = {}
  elseif last >= now then
    written = string.format('%d', last + 1)
    call('SET', clock, written)
  end
  created = created or written

  -- Entries in views. `undo` lists the view, the member and the score that it had, or false, for each change.
  local index, undo, done, claiming = rows + 7, {}, 0, false
  while index < final and not failure do
    local verb, number, member, score = ARGV[index], ARGV[index + 1], ARGV[index + 2], ARGV[index + 3]
    local removes, from, to = verb == 'remove' or verb == 'removes', index + 1, index + 1
    index = index + 4
    if verb == 'adds' or verb == 'removes' then
      from, to = index, index + number - 1
      index = to + 1
    elseif verb == 'claim' or verb == 'release' then
      claiming, to = true, 0
    end
    local had = revision
    if score == 'created' then
      score, had = created, created
    elseif score == 'revision' then
      score = written
    else
      had = removes and score ~= '' and score
    end
    for each = from, to do
      local view, earlier, result = KEYS[views + ARGV[each]], had, nil
      if revision and not had then
        earlier = try('ZSCORE', view, member)
      end
      if removes then
        result = try('ZREM', view, member)
      else
        result = try('ZADD', view, score, member)
      end
      if result == 1 or result == 0 and revision and not removes then
        undo[done + 1], undo[done + 2], undo[done + 3] = view, member, (removes or result == 0) and earlier
        done = done + 3
      elseif result ~= 0 then
        failure = result
        break
      end
    end
  end
  index = claiming and not failure and rows + 7 or final
  while index < final do
    local verb, number, value, owner = ARGV[index], ARGV[index + 1], ARGV[index + 2], ARGV[index + 3]
    index = index + 4
    if verb == 'claim' then
      call('HSET', KEYS[claims + number], value, owner)
    elseif verb == 'adds' or verb == 'removes' then
      index = index + number
    elseif verb == 'release' and call('HGET', KEYS[claims + number], value) == owner then
      call('HDEL', KEYS[claims + number], value)
    end
  end

  local result = failure or try('HSET', ledger, slot, sequence .. ' OK ' .. written .. ' ' .. created .. ' 0')
  if type(result) == 'table' then
    for each = done - 2, 1, -3 do
      if undo[each + 2] then
        call('ZADD', undo[each], undo[each + 2], undo[each + 1])
      else
        call('ZREM', undo[each], undo[each + 1])
      end
    end
    if before then
      call('SET', clock, before)
    end
    return last and result or nil
  end
  local head = '{"revision":' .. written .. ',"created":' .. created .. ',"expires":0,"op":"' .. ARGV[1] .. '"'
  call('SET', document, head .. ARGV[rows + 5])
  return { 'OK', written, created, '0' }
end

-- The call stands here, before the functions below are made: making them takes longer than calling them.
local put = put_one()
if put then
  return put
end
