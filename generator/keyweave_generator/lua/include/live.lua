-- Whether a document is before its deadline. The head has a fixed layout: `expires` begins at byte 67 and is 0 or has
-- sixteen digits. What has no head counts as live, so that the reader says what is wrong with it.
local EXPIRES_AT, ZERO = 67, 48
local looked_at = nil

local function is_live(document)
  if string.byte(document, EXPIRES_AT) == ZERO then
    return true
  end
  looked_at = looked_at or server_time()
  local deadline = tonumber(string.sub(document, EXPIRES_AT, EXPIRES_AT + 15))
  return not deadline or deadline > looked_at
end
