--@ include  time
-- Whether a document is before its deadline. The head has a fixed layout: `expires` begins at byte 67 and is 0 or has
-- sixteen digits. A document without a head counts as live, so that the client can report it.
local EXPIRES_AT, ZERO = 67, 48
local checked_at = nil

local function is_live(document)
  if string.byte(document, EXPIRES_AT) == ZERO then
    return true
  end
  checked_at = checked_at or server_time()
  local deadline = tonumber(string.sub(document, EXPIRES_AT, EXPIRES_AT + 15))
  return not deadline or deadline > checked_at
end
