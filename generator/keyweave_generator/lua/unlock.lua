--@ purpose  Release advisory locks that this token still holds.
--@ flags
--@ key      1..  locks
--@ argument 1    token
--@ reply    number  how many were released

local released = 0
for _, lock in ipairs(KEYS) do
  if redis.call('GET', lock) == ARGV[1] then
    released = released + redis.call('DEL', lock)
  end
end
return released
