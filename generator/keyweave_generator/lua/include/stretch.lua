--@ include  live
-- Appends the live documents of a view's members to `reply`, from the rank `start` on, until it has `limit` documents or has
-- read `scan` members. Returns the score and the member of the last one if more follow, else two empty texts; the members
-- without a document; and the last member in any case.
local function read_stretch(reply, view, prefix, newest, start, limit, scan)
  local range, dangling = newest and 'ZREVRANGE' or 'ZRANGE', {}
  local found, examined, last = 0, 0, nil
  local before = #reply
  while found < limit and examined < scan do
    local members = redis.call(range, view, start, start + math.min(limit - found, scan - examined) - 1)
    if #members == 0 then
      return '', '', dangling, last
    end
    local keys = {}
    for index = 1, #members do
      keys[index] = prefix .. members[index]
    end
    local documents = redis.call('MGET', unpack(keys))
    for index = 1, #members do
      local document = documents[index]
      if not document then
        dangling[#dangling + 1] = members[index]
      elseif is_live(document) then
        found = found + 1
        reply[before + found] = document
      end
    end
    start, examined, last = start + #members, examined + #members, members[#members]
  end
  if start < redis.call('ZCARD', view) then
    return redis.call('ZSCORE', view, last), last, dangling, last
  end
  return '', '', dangling, last
end
