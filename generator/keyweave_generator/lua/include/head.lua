-- The managed head of a document. It is bounded, so a short read finds it whatever the size of the payload.
-- Returns nil when there is no document, false when the key holds something else.
local HEAD_LENGTH = 128
local HEAD_PATTERN = '^{"revision":(%d+),"created":(%d+),"expires":(%d+),"op":"([^"]*)"'

local function read_head(key, now)
  local text = redis.call('GETRANGE', key, 0, HEAD_LENGTH - 1)
  if text == '' then
    return nil
  end
  local revision, created, expires, op = string.match(text, HEAD_PATTERN)
  if not revision then
    return false
  end
  local deadline = tonumber(expires)
  return {
    revision = revision,
    created = created,
    expires = deadline,
    op = op,
    dead = deadline > 0 and deadline <= now,
  }
end
