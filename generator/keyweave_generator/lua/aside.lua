--@ purpose  Rename a key of the wrong type, so that an operator can examine it. Nothing is lost, and what belongs there can be rebuilt.
--@ flags
--@ key      1     key     the key of the wrong type
--@ key      2     aside   its new name
--@ argument 1     wanted  the type that the key should have; `number` for a string of digits
--@ reply    1 when the key was renamed, 0 when it has the right type or is gone
--@ include  permission

local kind, wanted = redis.call('TYPE', KEYS[1])['ok'], ARGV[1]
if kind == 'none' or kind == wanted then
  return 0
end
if wanted == 'number' and kind == 'string' and string.match(redis.call('GET', KEYS[1]), '^%d+$') then
  return 0
end
local refusal = refusal_of('persist', KEYS[2])
if refusal then
  return refusal
end
local moved = redis.call('RENAMENX', KEYS[1], KEYS[2])
if moved == 1 then
  redis.call('PERSIST', KEYS[2])
end
return moved
