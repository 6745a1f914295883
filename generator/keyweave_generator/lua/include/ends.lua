-- Ranks of a stretch of a view, from the first one on and before the second one; nil for its end. The ends are scores, both included,
-- or texts: members are not below the first and are below the second.
local function ranks_between(view, newest, low, high, text)
  if text then
    local below = low == '-' and 0 or redis.call('ZLEXCOUNT', view, '-', '(' .. string.sub(low, 2))
    local above = high == '+' and 0 or redis.call('ZLEXCOUNT', view, '[' .. string.sub(high, 2), '+')
    local before, behind = below, above
    if newest then
      before, behind = above, below
    end
    return before, behind > 0 and redis.call('ZCARD', view) - behind or nil
  end
  local first, last = low, high
  if newest then
    first, last = high, low
  end
  local start, stop = 0, nil
  if newest and first ~= '+inf' then
    start = redis.call('ZCOUNT', view, '(' .. first, '+inf')
  elseif not newest and first ~= '-inf' then
    start = redis.call('ZCOUNT', view, '-inf', '(' .. first)
  end
  if newest and last ~= '-inf' then
    stop = redis.call('ZCOUNT', view, last, '+inf')
  elseif not newest and last ~= '+inf' then
    stop = redis.call('ZCOUNT', view, '-inf', last)
  end
  return start, stop
end
