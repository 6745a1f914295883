--@ include  live
--@ include  row
local LONGEST_STRIDE = 512

-- Returns those of the members, in their order, that may have a live document, until there are `wanted`, and how many members
-- were passed. It reads heads only: behind many ended rows, it would read most documents without a result.
local function leading_live(members, prefix, wanted, text)
  local kept = {}
  for index = 1, #members do
    local head = redis.pcall('GETRANGE', prefix .. row_of(members[index], text), 0, EXPIRES_AT + 14)
    if type(head) == 'table' or is_live(head) then
      kept[#kept + 1] = members[index]
      if #kept == wanted then
        return kept, index
      end
    end
  end
  return kept, #members
end

-- Appends the live documents of a view's members to `reply`, from the rank `start` on and before the rank `stop`, if there is
-- one, until it has `limit` documents or has read `scan` members. Returns the score and the member of the last one if more follow,
-- else two empty texts; the members without a document; and the last member in any case. With `text`, the view is in an order of
-- strings.
local function read_stretch(reply, view, prefix, newest, start, limit, scan, stop, text)
  local range, dangling = newest and 'ZREVRANGE' or 'ZRANGE', {}
  local found, examined, last = 0, 0, nil
  local before, stride, byte = #reply, limit, string.byte
  while found < limit and examined < scan do
    local wanted = math.min(stride, scan - examined)
    local final = start + wanted - 1
    if stop and final >= stop then
      final = stop - 1
    end
    local members = final >= start and redis.call(range, view, start, final) or {}
    local number = #members
    if number == 0 then
      return '', '', dangling, last
    end
    local read, passed = members, number
    if number > limit - found then
      read, passed = leading_live(members, prefix, limit - found, text)
    end
    last = members[passed]
    local keys = {}
    for index = 1, #read do
      keys[index] = prefix .. (text and row_of(read[index], true) or read[index])
    end
    local documents = #keys > 0 and redis.call('MGET', unpack(keys)) or {}
    for index = 1, #keys do
      local document = documents[index]
      if not document then
        dangling[#dangling + 1] = read[index]
      elseif byte(document, EXPIRES_AT) == ZERO or is_live(document) then
        found = found + 1
        reply[before + found] = document
      end
    end
    if passed == number and number < wanted then
      return '', '', dangling, last
    end
    start, examined = start + passed, examined + passed
    stride = math.max(limit - found, math.min(2 * stride, LONGEST_STRIDE))
  end
  if start < (stop or redis.call('ZCARD', view)) then
    return redis.call('ZSCORE', view, last), last, dangling, last
  end
  return '', '', dangling, last
end
