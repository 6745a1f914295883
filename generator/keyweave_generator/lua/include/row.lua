-- Key of the row that a member of a view names. In an order of strings the value and a NUL come before it.
local function row_of(member, text)
  if text then
    return string.sub(member, (string.find(member, '\0', 1, true) or 0) + 1)
  end
  return member
end
