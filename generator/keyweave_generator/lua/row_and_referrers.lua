--@ purpose  A row with every row that refers to it, dead rows included, and the ids of the rows that refer to these.
--@ flags    no-writes
--@ key      1    document
--@ key      2..  views      of the rows that refer to it, one view for each reference
--@ argument 1    most       members of all views whose documents may be returned
--@ argument 2    bound      members that may be read, the level below included
--@ argument 3..  kinds      for each view the prefix of its documents' keys, then the number of references to its rows
--@ argument 4..  below      then for each of these references the prefix of the views of the referring rows; an escaped id completes it
--@ reply    row view...     the row's document, alone when it is dead or has too many referrers; null when there is no row;
--@ reply    view            members, their documents, and a list of ids for each member and each reference to it
--@ include  live
--@ include  escape

local most, bound = tonumber(ARGV[1]), tonumber(ARGV[2])
local row = redis.call('GET', KEYS[1])
if not row then
  return false
end
if not is_live(row) then
  return { row }
end

local reply, word, found, examined = { row }, 3, 0, 0
for index = 2, #KEYS do
  local members = redis.call('ZRANGE', KEYS[index], 0, most - found)
  found, examined = found + #members, examined + #members
  if found > most then
    return { row }
  end
  local prefix, kinds = ARGV[word], tonumber(ARGV[word + 1])
  local keys, below, documents = {}, {}, {}
  for order, member in ipairs(members) do
    keys[order] = prefix .. member
    for kind = 1, kinds do
      local names = redis.call('ZRANGE', ARGV[word + 1 + kind] .. escape(member), 0, bound - examined)
      examined = examined + #names
      if examined > bound then
        return { row }
      end
      below[#below + 1] = names
    end
  end
  if #keys > 0 then
    documents = redis.call('MGET', unpack(keys))
  end
  reply[index] = { members, documents, below }
  word = word + 2 + kinds
end
return reply
