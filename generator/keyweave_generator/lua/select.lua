--@ purpose  One page of the rows that are in several views: the smallest is read, the others tell which members count.
--@ flags    no-writes
--@ key      1..  views      those of the page's order first, one of which is read; then others that rows have to be in
--@ argument 1  documents  prefix of the documents' keys; a member completes it
--@ argument 2  limit      most documents to return
--@ argument 3  direction  `newest` or `oldest` score first
--@ argument 4  score      score of the cursor, or empty to begin
--@ argument 5  member     member of the cursor
--@ argument 6  scan       most members to look at
--@ argument 7  readable   number of views that have the page's order
--@ reply    number score member dangling document...   number of the view that was read, then as for `page`
--@ include  time
--@ include  live
--@ include  rank
--@ include  shared

local prefix, limit, newest = ARGV[1], tonumber(ARGV[2]), ARGV[3] == 'newest'
local scan, readable = tonumber(ARGV[6]), tonumber(ARGV[7])
local range = newest and 'ZREVRANGE' or 'ZRANGE'
local FIRST_STRIDE, LONGEST_STRIDE = 64, 512

local number, size = 0, math.huge
for index = 1, readable do
  local other = redis.call('ZCARD', KEYS[index])
  if other < size then
    number, size = index, other
  end
end
local view = KEYS[number]

local dangling, reply = {}, { number, '', '', false }
reply[4] = dangling
local start = ARGV[4] ~= '' and rank_after(view, newest, ARGV[4], ARGV[5]) or 0
local stride, last, looked = math.min(limit, FIRST_STRIDE), nil, 0

while #reply - 4 < limit and looked < scan do
  local members = redis.call(range, view, start, start + math.min(stride, scan - looked) - 1)
  if #members == 0 then
    return reply
  end
  local kept = shared(members, KEYS, number)
  local passed, at = #members, 1
  while at <= #kept do
    local upto = math.min(#kept, at + limit - (#reply - 4) - 1)
    local keys = {}
    for order = at, upto do
      keys[#keys + 1] = prefix .. members[kept[order]]
    end
    local documents = redis.call('MGET', unpack(keys))
    for index = 1, #keys do
      local document = documents[index]
      if not document then
        dangling[#dangling + 1] = members[kept[at + index - 1]]
      elseif is_live(document) then
        reply[#reply + 1] = document
      end
    end
    at = upto + 1
    if #reply - 4 == limit and at <= #kept then
      passed = kept[upto]
      break
    end
  end
  start, looked, last = start + passed, looked + passed, members[passed]
  stride = math.min(stride * 2, LONGEST_STRIDE)
end

if start < size then
  reply[2], reply[3] = redis.call('ZSCORE', view, last), last
end
return reply
