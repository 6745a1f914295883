--@ include  time
-- While the partitions of a group are doubled, a clock has a suffix: the number of partitions that there will be, and the phase.
-- `copy`: rows that move are copied to the twin, and what changes is noted. `frozen`: nothing may change until the time behind the word,
-- and then it is as `copy` again. `moved`: the twin has them.
-- `filling`: a twin that has no rows yet, only copies, of the command with the number behind the word.
--
-- The revision, the suffix and the phase of a clock; no revision when it holds anything else.
local function parse_clock(text)
  local last = tonumber(text or 0)
  if last then
    return last, '', nil
  end
  local revision, suffix, phase, number = string.match(text, '^(%d+)( %d+ (%l+)(%d*))$')
  if phase == 'frozen' and server_time() > tonumber(number) then
    phase = 'copy'
  end
  return tonumber(revision or ''), suffix, phase
end

-- Whether a step comes from a client that does not know which rows the partition has now. `target` is the number of partitions that
-- there will be, false where the client knows of no doubling; `has` says what the client believes: `all` rows, or its `half`.
local function is_outdated(phase, schema, target, has)
  if phase == 'frozen' or phase == 'filling' then
    return true
  end
  if not target then
    return phase ~= nil
  end
  local number = tonumber(redis.call('HGET', schema, 'partitions') or 1)
  if has == 'half' then
    return number ~= tonumber(target)
  end
  return not number or number >= tonumber(target)
end
