-- Ranks of a stretch of a view, from the first one on and before the second one; nil for its end. The ends are scores, both included.
local function ranks_between(view, newest, low, high)
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
