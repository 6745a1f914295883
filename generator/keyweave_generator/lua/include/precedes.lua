-- Whether one text comes before another one in bytes, as members of a view do. Lua's `<` follows the server's locale.
local function precedes(left, right)
  for index = 1, math.min(#left, #right) do
    local one, other = string.byte(left, index), string.byte(right, index)
    if one ~= other then
      return one < other
    end
  end
  return #left < #right
end
