--@ include  precedes
-- Rank of the first member of a view after a cursor, even if the row of the cursor has moved or is gone.
local function rank_after(view, newest, score, member, text)
  if text then
    return newest and redis.call('ZLEXCOUNT', view, '[' .. member, '+') or redis.call('ZLEXCOUNT', view, '-', '[' .. member)
  end
  local rank = redis.call(newest and 'ZREVRANK' or 'ZRANK', view, member)
  if rank and redis.call('ZSCORE', view, member) == score then
    return rank + 1
  end
  local low = newest and redis.call('ZCOUNT', view, '(' .. score, '+inf') or redis.call('ZCOUNT', view, '-inf', '(' .. score)
  local high = low + redis.call('ZCOUNT', view, score, score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local other = redis.call(newest and 'ZREVRANGE' or 'ZRANGE', view, middle, middle)[1]
    if (newest and not precedes(other, member)) or (not newest and not precedes(member, other)) then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end
