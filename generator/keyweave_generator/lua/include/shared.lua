--@ include  row
-- Positions of the members that are in every view. The view with the number `except` is known to hold them all. In an order of
-- strings, the views up to the number `text` hold whole members, and the others the keys in them.
local function shared(members, views, except, text)
  local kept = {}
  for position = 1, #members do
    kept[position] = position
  end
  for number = 1, #views do
    if number ~= except and #kept > 0 then
      local asked, left = {}, {}
      for order = 1, #kept do
        asked[order] = row_of(members[kept[order]], text and number > text)
      end
      local scores = redis.call('ZMSCORE', views[number], unpack(asked))
      for order = 1, #kept do
        if scores[order] then
          left[#left + 1] = kept[order]
        end
      end
      kept = left
    end
  end
  return kept
end
