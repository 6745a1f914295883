--@ purpose  Moves a key of the wrong type to where somebody can look at it. Nothing is lost, and what was in its place can be rebuilt.
--@ flags
--@ key      1     key     what is in the way
--@ key      2     aside   where it goes
--@ argument 1     wanted  the type that the key should have; `number` for a string of digits
--@ reply    1 when it was moved, 0 when it is what it should be, or gone
local kind, wanted = redis.call('TYPE', KEYS[1])['ok'], ARGV[1]
if kind == 'none' or kind == wanted then
  return 0
end
if wanted == 'number' and kind == 'string' and string.match(redis.call('GET', KEYS[1]), '^%d+$') then
  return 0
end
local moved = redis.call('RENAMENX', KEYS[1], KEYS[2])
if moved == 1 then
  redis.call('PERSIST', KEYS[2])
end
return moved
