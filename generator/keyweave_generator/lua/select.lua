--@ purpose  One page of the rows that are in several views: the smallest view is read, the others decide which members are returned.
--@ flags    no-writes
--@ key      1..  views      first those with the page's order, one of which is read; then the others
--@ argument 1  documents  prefix of the documents' keys; a member completes it
--@ argument 2  limit      most documents to return
--@ argument 3  direction  `newest` or `oldest` score first
--@ argument 4  score      score of the cursor, or empty to begin
--@ argument 5  member     member of the cursor
--@ argument 6  scan       most members to read
--@ argument 7  readable   number of views that have the page's order
--@ argument 8  low        low end of a stretch of the order as for `page`, or absent for the whole order
--@ argument 9  high       high end of the stretch
--@ reply    number score member dangling document...   number of the view that was read, then as for `page`
--@ include  ends
--@ include  live
--@ include  rank
--@ include  row
--@ include  shared
--@ include  text

local prefix, limit, newest = ARGV[1], tonumber(ARGV[2]), ARGV[3] == 'newest'
local scan, readable = tonumber(ARGV[6]), tonumber(ARGV[7])
local range = newest and 'ZREVRANGE' or 'ZRANGE'
local FIRST_STRIDE, LONGEST_STRIDE, text = 64, 512, is_text(ARGV[8])

local number, size = 0, math.huge
for index = 1, readable do
  local other = ARGV[8] and redis.call(text and 'ZLEXCOUNT' or 'ZCOUNT', KEYS[index], ARGV[8], ARGV[9])
    or redis.call('ZCARD', KEYS[index])
  if other < size then
    number, size = index, other
  end
end
local view = KEYS[number]

local dangling, reply = {}, { number, '', '', false }
reply[4] = dangling

-- Appends the live documents of members to the reply until the page is full. Returns how many members it has used.
local function read(members)
  local first = 1
  while first <= #members and #reply - 4 < limit do
    local final = math.min(#members, first + math.min(limit - (#reply - 4), LONGEST_STRIDE) - 1)
    local keys = {}
    for order = first, final do
      keys[#keys + 1] = prefix .. row_of(members[order], text)
    end
    local documents = redis.call('MGET', unpack(keys))
    for index = 1, #keys do
      local document = documents[index]
      if not document then
        dangling[#dangling + 1] = members[first + index - 1]
      elseif is_live(document) then
        reply[#reply + 1] = document
      end
    end
    first = final + 1
  end
  return first - 1
end

-- The members that are in every view, in the order of the view that is read.
local function intersection()
  local words = {}
  for index = 1, #KEYS do
    words[index] = KEYS[index]
  end
  words[#words + 1] = 'WEIGHTS'
  for index = 1, #KEYS do
    words[#words + 1] = index == number and 1 or 0
  end
  local members = redis.call('ZINTER', #KEYS, unpack(words))
  if newest then
    local reversed = {}
    for index = #members, 1, -1 do
      reversed[#reversed + 1] = members[index]
    end
    return reversed
  end
  return members
end

local start, stop = 0, size
if ARGV[8] then
  start, stop = ranks_between(view, newest, ARGV[8], ARGV[9], text)
  stop = stop or redis.call('ZCARD', view)
end
if ARGV[4] ~= '' then
  start = math.max(start, rank_after(view, newest, ARGV[4], ARGV[5], text))
end
local begun, stride, last, examined, met = start, math.min(limit, FIRST_STRIDE), nil, 0, 0

while #reply - 4 < limit and examined < scan do
  local final = math.min(stop, start + math.min(stride, scan - examined)) - 1
  local members = final >= start and redis.call(range, view, start, final) or {}
  if #members == 0 then
    return reply
  end
  local kept = shared(members, KEYS, number, text and readable)
  local matching = {}
  for order = 1, #kept do
    matching[order] = members[kept[order]]
  end
  local taken, passed = read(matching), #members
  if taken < #matching then
    passed = kept[taken]
  end
  start, examined, last, met = start + passed, examined + passed, members[passed], met + taken
  stride = math.min(stride * 2, LONGEST_STRIDE)
  -- If few members match, one intersection on the server is faster than looking them up part by part.
  if not ARGV[8] and begun == 0 and #reply - 4 < limit and start < size and size <= scan and met * size <= 2 * limit * examined then
    local all = intersection()
    local rest = {}
    for index = met + 1, #all do
      rest[#rest + 1] = all[index]
    end
    taken = read(rest)
    if taken == #rest then
      return reply
    end
    reply[2], reply[3] = redis.call('ZSCORE', view, rest[taken]), rest[taken]
    return reply
  end
end

if start < stop then
  reply[2], reply[3] = redis.call('ZSCORE', view, last), last
end
return reply
