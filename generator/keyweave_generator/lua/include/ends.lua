-- Ranks of a stretch of a view, from the first one on and before the second one. The ends are scores, both included.
local function ranks_between(view, newest, low, high)
  local below = low ~= '-inf' and redis.call('ZCOUNT', view, '-inf', '(' .. low) or 0
  local above = high ~= '+inf' and redis.call('ZCOUNT', view, '(' .. high, '+inf') or 0
  local size = redis.call('ZCARD', view)
  if newest then
    return above, size - below
  end
  return below, size - above
end
