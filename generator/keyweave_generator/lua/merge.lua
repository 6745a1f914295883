--@ purpose  One page of several views of an entity, merged by score and member, each row once.
--@ flags    no-writes
--@ key      1..  views
--@ argument 1    documents  prefix of the documents' keys; a member completes it
--@ argument 2    limit      most rows to return
--@ argument 3    direction  `newest` or `oldest` score first
--@ argument 4    score      score of the cursor, or empty to begin
--@ argument 5    member     member of the cursor
--@ argument 6    scan       most members to pass
--@ argument 7    wanted     `documents` or `members`
--@ argument 8..  ends       for each view the two ends of a stretch as for `page`, or absent for whole views
--@ reply    score member dangling row...   score and member of the next cursor, empty at the end of all views; dangling lists
--@ reply    the number of a view and a member of it without a document, in turns; a row is its document or its member
--@ include  ends
--@ include  live
--@ include  precedes
--@ include  rank
--@ include  row
--@ include  text

local prefix, limit, newest = ARGV[1], tonumber(ARGV[2]), ARGV[3] == 'newest'
local scan, documents = tonumber(ARGV[6]), ARGV[7] == 'documents'
local range = newest and 'ZREVRANGE' or 'ZRANGE'
local LONGEST_STRIDE, at = 256, 8
local text = is_text(ARGV[at])
local stride = math.min(LONGEST_STRIDE, math.max(8, math.ceil(2 * limit / #KEYS)))

local streams = {}
for number = 1, #KEYS do
  local view, start, stop = KEYS[number], 0, nil
  if ARGV[at] then
    start, stop = ranks_between(view, newest, ARGV[at], ARGV[at + 1], text)
    at = at + 2
  end
  if ARGV[4] ~= '' then
    start = math.max(start, rank_after(view, newest, ARGV[4], ARGV[5], text))
  end
  streams[#streams + 1] = { number = number, view = view, start = start, stop = stop, entries = {}, place = 1 }
end

-- Reads the next entries of a stream when it has no more. Returns whether it has a head.
local function has_head(stream)
  if stream.place < #stream.entries then
    return true
  end
  local final = stream.start + stride - 1
  if stream.stop and final >= stream.stop then
    final = stream.stop - 1
  end
  if final < stream.start then
    return false
  end
  stream.entries, stream.place = redis.call(range, stream.view, stream.start, final, 'WITHSCORES'), 1
  stream.start = final + 1
  return #stream.entries > 0
end

local waiting = {}
for index = 1, #streams do
  local stream = streams[index]
  if has_head(stream) then
    stream.member, stream.score = stream.entries[1], tonumber(stream.entries[2])
    waiting[#waiting + 1] = stream
  end
end

local function step(index)
  local stream = waiting[index]
  stream.place = stream.place + 2
  if has_head(stream) then
    stream.member, stream.score = stream.entries[stream.place], tonumber(stream.entries[stream.place + 1])
  else
    table.remove(waiting, index)
  end
end

local last_score, last_member

-- The next member of all streams, and the number of a view that holds it. Every stream passes it.
local function next_member()
  local best
  for index = 1, #waiting do
    local stream = waiting[index]
    if not best then
      best = stream
    elseif stream.score ~= best.score then
      if (stream.score > best.score) == newest then
        best = stream
      end
    elseif stream.member ~= best.member and precedes(best.member, stream.member) == newest then
      best = stream
    end
  end
  local member, score, number = best.member, best.score, best.number
  last_member, last_score = member, best.entries[best.place + 1]
  for index = #waiting, 1, -1 do
    local stream = waiting[index]
    if stream.score == score and stream.member == member then
      step(index)
    end
  end
  return member, number
end

local dangling, reply = {}, { '', '', false }
reply[3] = dangling
local passed, heads = 0, not documents

while #reply - 3 < limit and passed < scan and #waiting > 0 do
  local members, numbers, keys = {}, {}, {}
  while #members < limit - (#reply - 3) and passed < scan and #waiting > 0 do
    local member, number = next_member()
    local key = prefix .. row_of(member, text)
    passed = passed + 1
    -- Rows that have ended are passed by their heads, except in the first round, in which most rows live.
    local head = heads and redis.pcall('GETRANGE', key, 0, EXPIRES_AT + 14) or nil
    if head == '' then
      dangling[#dangling + 1], dangling[#dangling + 2] = number, member
    elseif not head or type(head) == 'table' or is_live(head) then
      members[#members + 1], numbers[#numbers + 1], keys[#keys + 1] = member, number, key
    end
  end
  if not documents then
    for index = 1, #members do
      reply[#reply + 1] = members[index]
    end
  elseif #keys > 0 then
    local found = redis.call('MGET', unpack(keys))
    for index = 1, #keys do
      local document = found[index]
      if not document then
        dangling[#dangling + 1], dangling[#dangling + 2] = numbers[index], members[index]
      elseif is_live(document) then
        reply[#reply + 1] = document
      end
    end
  end
  heads = true
end

if #waiting > 0 then
  reply[1], reply[2] = last_score, last_member
end
return reply
