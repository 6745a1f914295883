-- A value as part of a view's key; the keys of several values are joined with `:`. The same as `escape` of `keyweave.keyspace.keys`.
local ESCAPES = { ['%'] = '%25', [':'] = '%3A' }

local function escape(value)
  return (string.gsub(value, '[%%:]', ESCAPES))
end
