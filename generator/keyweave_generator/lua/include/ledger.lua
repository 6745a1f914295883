-- The ledger of a client: a hash with a slot for each of its plans under way. A slot holds the sequence number of the latest
-- plan that used it, and what that plan was answered. It is used again only when its plan was answered.
local LEDGER_LIFE = 86400000 -- milliseconds after the client's last renewal

-- The answer that a slot holds for the plan with this sequence number; nil when the plan was not applied yet.
local function answer_of(held, sequence)
  if not held then
    return nil
  end
  local latest = string.match(held, '^(%d+) ')
  if not latest then
    return { 'CORRUPT', 3 }
  end
  if latest == sequence then
    local answer = string.sub(held, #latest + 2)
    return answer == 'NEVER' and { 'NEVER' } or { 'REPLAYED', answer }
  end
  return tonumber(latest) > tonumber(sequence) and { 'STALE' } or nil
end
