--@ purpose  A row and everything below it, level by level.
--@ flags    no-writes
--@ key      1  root
--@ argument 1  documents  prefix of the documents' keys; an id completes it
--@ argument 2  children   prefix of the views of a row's children; its escaped id completes it
--@ argument 3  id         of the root
--@ argument 4  depth      most levels below the root
--@ argument 5  bound      most children to read
--@ reply    whole dangling level...   whole is 0 when the bound was reached before the next level; a level is a list of documents,
--@ reply    the root's is the first, and there is none when the root is not there;
--@ reply    dangling lists the children without a document, each after its parent
--@ include  live
--@ include  escape

local prefix, children, depth, bound = ARGV[1], ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5])
local dangling, reply = {}, { 1, false }
reply[2] = dangling

local root = redis.call('GET', KEYS[1])
if not root or not is_live(root) then
  return reply
end
reply[3] = { root }
local level, seen, examined = { ARGV[3] }, { [ARGV[3]] = true }, 0

for _ = 1, depth do
  local members, parents, keys = {}, {}, {}
  for _, parent in ipairs(level) do
    local found = redis.call('ZRANGE', children .. escape(parent), 0, bound - examined)
    examined = examined + #found
    if examined > bound then
      reply[1] = 0
      return reply
    end
    for _, member in ipairs(found) do
      if not seen[member] then
        seen[member] = true
        members[#members + 1], parents[#parents + 1], keys[#keys + 1] = member, parent, prefix .. member
      end
    end
  end
  if #keys == 0 then
    return reply
  end
  local found, live = redis.call('MGET', unpack(keys)), {}
  level = {}
  for index = 1, #keys do
    local document = found[index]
    if not document then
      dangling[#dangling + 1], dangling[#dangling + 2] = parents[index], members[index]
    elseif is_live(document) then
      live[#live + 1], level[#level + 1] = document, members[index]
    end
  end
  if #live == 0 then
    return reply
  end
  reply[#reply + 1] = live
end
return reply
