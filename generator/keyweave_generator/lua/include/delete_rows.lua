-- Applies the plan that only deletes rows without a deadline, with fewer commands. Returns nil, and has written nothing, when the plan
-- is another one, or when anything rare or a guard is in its way: then `apply` goes on.
--
-- Where few rows share a view, the types of views are not read before the first write, as in `put_one`: if one of them is no sorted set, its
-- command fails, and what was taken out of others until then is put back. So the user must be permitted to do that. Where many do, each
-- type is read, and one command takes all members out of a view.
local function delete_rows()
  local KEYS, ARGV, call, try = KEYS, ARGV, redis.call, redis.pcall
  local DOCUMENTS, clock, ledger = 4, KEYS[1], KEYS[3]
  local views, claims, final = tonumber(ARGV[6]), tonumber(ARGV[7]), #ARGV
  if string.sub(ARGV[12], 1, 4) ~= 'del ' or ARGV[8] ~= '' or ARGV[9] ~= '' or views > 500 then
    return nil
  end

  -- The guards, with what the heads of the rows say.
  local HEAD = '^{"revision":(%d+),"created":(%d+),"expires":0,"op":"([^"]*)"'
  local at, revisions, moments = 13, {}, {}
  while ARGV[at] ~= 'rows' do
    local word, number = ARGV[at], tonumber(ARGV[at + 1])
    if word == 'revision' or word == 'unchanged' then
      local text = call('GETRANGE', KEYS[DOCUMENTS + number], 0, 127)
      local latest, created, op = string.match(text, HEAD)
      if latest ~= ARGV[at + 2] or op ~= ARGV[at + 3] and ARGV[at + 3] ~= '' then
        return nil
      end
      revisions[number], moments[number] = latest, created
      at = at + 4
    elseif word == 'same' then
      local text = ARGV[at + 2]
      if call('GET', KEYS[DOCUMENTS + number]) ~= text then
        return nil
      end
      revisions[number], moments[number] = string.match(text, HEAD)
      at = at + 3
    elseif word == 'count' then
      if call('ZCARD', KEYS[views + number]) ~= tonumber(ARGV[at + 2]) then
        return nil
      end
      at = at + 3
    else
      return nil
    end
  end

  -- The rows. The owner of each unique value is read before the first write, and with it the type of the constraint.
  local rows, documents, owned, releases, entries = at + 1, {}, {}, false, 0
  at = rows
  while at <= final do
    local number = tonumber(ARGV[at + 1])
    if ARGV[at] ~= 'delete' or not revisions[number] then
      return nil
    end
    local last = at + 3 + ARGV[at + 3]
    documents[#documents + 1] = KEYS[DOCUMENTS + number]
    at = at + 4
    while at <= last do
      local verb, subject = ARGV[at], ARGV[at + 1]
      if verb == 'release' then
        releases = true
        if call('HGET', KEYS[claims + subject], ARGV[at + 2]) == ARGV[at + 3] then
          local values = owned[subject] or {}
          owned[subject], values[#values + 1] = values, ARGV[at + 2]
        end
      elseif verb == 'removes' then
        at, entries = at + subject, entries + subject
      elseif verb == 'remove' then
        entries = entries + 1
      else
        return nil
      end
      at = at + 4
    end
  end
  local shared = entries > 2 * (claims - views) and {}

  local time = call('TIME')
  local now = time[1] * 1000000 + time[2]
  local slot, sequence = ARGV[2], ARGV[3]
  local held = call('HGET', ledger, slot)
  local answered = held and tonumber(string.match(held, '^(%d+) ') or sequence)
  if not answered or tonumber(sequence) <= answered or tonumber(ARGV[4]) < now then
    return nil
  end
  -- A clock that is no number is damaged, or partitions are being doubled.
  if not tonumber(call('GET', clock) or 0) or call('HGET', KEYS[4], 'current') ~= ARGV[10] then
    return nil
  end
  local may_run = redis.acl_check_cmd
  if may_run then
    if not may_run('del', clock) or releases and not may_run('hdel', clock, '1') then
      return nil
    end
    local leaves = shared and may_run('zrem', clock, '1') or not shared and may_run('zadd', clock, '1', '1')
    if views < claims and not leaves then
      return nil
    end
  end

  -- Entries in views. `undo` lists the view, the member and the score that it had for each change; `shared` has the members by view.
  local undo, done, failure = {}, 0, nil
  at = rows
  while at <= final and not failure do
    local number, last = tonumber(ARGV[at + 1]), at + 3 + ARGV[at + 3]
    at = at + 4
    while at <= last and not failure do
      local verb, subject, member, score = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
      local from, to = at + 1, at + 1
      at = at + 4
      if verb == 'removes' then
        from, to = at, at + subject - 1
        at = to + 1
      elseif verb == 'release' then
        to = 0
      end
      if score == 'created' then
        score = moments[number]
      elseif score == 'revision' then
        score = revisions[number]
      end
      if shared then
        for each = from, to do
          local members = shared[ARGV[each]] or {}
          shared[ARGV[each]], members[#members + 1] = members, member
        end
        to = 0
      end
      for each = from, to do
        local view, earlier = KEYS[views + ARGV[each]], score
        if score == '' then
          earlier = try('ZSCORE', view, member)
        end
        local removed = try('ZREM', view, member)
        if removed == 1 then
          undo[done + 1], undo[done + 2], undo[done + 3] = view, member, earlier
          done = done + 3
        elseif removed ~= 0 then
          failure = removed
          break
        end
      end
    end
  end
  if shared then
    for view in pairs(shared) do
      call('ZCARD', KEYS[views + view])
    end
    call('HSET', ledger, slot, sequence .. ' OK')
    for view, members in pairs(shared) do
      for index = 1, #members, 1000 do
        call('ZREM', KEYS[views + view], unpack(members, index, math.min(index + 999, #members)))
      end
    end
  end
  local result = failure or not shared and try('HSET', ledger, slot, sequence .. ' OK')
  if type(result) == 'table' then
    for each = done - 2, 1, -3 do
      call('ZADD', undo[each], undo[each + 2], undo[each + 1])
    end
    return result
  end
  for subject, values in pairs(owned) do
    for index = 1, #values, 1000 do
      call('HDEL', KEYS[claims + subject], unpack(values, index, math.min(index + 999, #values)))
    end
  end
  call('DEL', unpack(documents))
  return { 'OK' }
end

-- The call stands here for the same reason as that of `put_one`.
local deleted = delete_rows()
if deleted then
  return deleted
end
