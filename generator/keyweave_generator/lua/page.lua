--@ purpose  One page of a view with its documents, skipping rows past their deadline.
--@ flags    no-writes
--@ key      1  view
--@ argument 1  documents  prefix of the documents' keys; a member completes it
--@ argument 2  limit      most documents to return
--@ argument 3  direction  `newest` or `oldest` score first
--@ argument 4  score      score of the cursor, or empty to begin
--@ argument 5  member     member of the cursor
--@ argument 6  scan       most members to look at
--@ reply    score member dangling document...   score and member of the next cursor, empty at the end of the view;
--@ reply    dangling lists the members without a document
--@ include  time
--@ include  live
--@ include  rank

local view, prefix = KEYS[1], ARGV[1]
local limit, newest, scan = tonumber(ARGV[2]), ARGV[3] == 'newest', tonumber(ARGV[6])
local range = newest and 'ZREVRANGE' or 'ZRANGE'

local start = ARGV[4] ~= '' and rank_after(view, newest, ARGV[4], ARGV[5]) or 0
local dangling, reply = {}, { '', '', false }
reply[3] = dangling
local last, looked = nil, 0

while #reply - 3 < limit and looked < scan do
  local members = redis.call(range, view, start, start + math.min(limit - (#reply - 3), scan - looked) - 1)
  if #members == 0 then
    return reply
  end
  local keys = {}
  for index = 1, #members do
    keys[index] = prefix .. members[index]
  end
  local documents = redis.call('MGET', unpack(keys))
  for index = 1, #members do
    local document = documents[index]
    if not document then
      dangling[#dangling + 1] = members[index]
    elseif is_live(document) then
      reply[#reply + 1] = document
    end
  end
  start, looked, last = start + #members, looked + #members, members[#members]
end

if start < redis.call('ZCARD', view) then
  reply[1], reply[2] = redis.call('ZSCORE', view, last), last
end
return reply
