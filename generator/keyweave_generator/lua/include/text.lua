-- Whether the low end of a stretch is one of strings: `-`, or `[` and a text. Those of scores are numbers.
local function is_text(low)
  return low and (low == '-' or string.sub(low, 1, 1) == '[') or false
end
