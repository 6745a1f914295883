--@ purpose  One page of a view, with only the rows that another row refers to; that row has to be in certain other views.
--@ flags    no-writes
--@ key      1    view       with the rows to return
--@ key      2..  narrowing  views that a referring row has to be in
--@ argument 1  documents  prefix of the documents' keys; a member completes it
--@ argument 2  limit      most rows to return
--@ argument 3  direction  `newest` or `oldest` score first
--@ argument 4  score      score of the cursor, or empty to begin
--@ argument 5  member     member of the cursor
--@ argument 6  scan       most members to read; a search for the rows that refer to them counts as well
--@ argument 7  referrers  prefix of the views of the rows that refer to one row; its escaped id completes it
--@ argument 8  proofs     prefix of the keys of the referring rows' documents
--@ reply    score member dangling row...   as for `page`; a row is its document and the document of a row that refers to it,
--@ reply    which is empty when finding it would take too long
--@ include  live
--@ include  rank
--@ include  escape
--@ include  shared

local view, prefix = KEYS[1], ARGV[1]
local limit, newest, scan = tonumber(ARGV[2]), ARGV[3] == 'newest', tonumber(ARGV[6])
local referrers, proofs = ARGV[7], ARGV[8]
local range = newest and 'ZREVRANGE' or 'ZRANGE'
local STRIDE, LONGEST_SEARCH = 64, 4096

local views, counted = { '' }, { #KEYS, '' }
for index = 2, #KEYS do
  views[index], counted[index + 1] = KEYS[index], KEYS[index]
end
counted[#counted + 1], counted[#counted + 2] = 'LIMIT', 1

-- How many referring rows were looked up.
local searched = 0

-- The live document of a row that refers to `member` and is in every narrowing view; nil when there is none, an empty text
-- when finding one would take too long. For most members the cardinality of the intersection shows that there is none.
local function proof_of(member)
  views[1] = referrers .. escape(member)
  counted[2] = views[1]
  if redis.call('ZINTERCARD', unpack(counted)) == 0 then
    return nil
  end
  local smallest, size = 0, math.huge
  for number = 1, #views do
    local other = redis.call('ZCARD', views[number])
    if other < size then
      smallest, size = number, other
    end
  end
  for first = 0, math.min(size, LONGEST_SEARCH) - 1, STRIDE do
    searched = searched + STRIDE
    local members = redis.call('ZREVRANGE', views[smallest], first, first + STRIDE - 1)
    for _, position in ipairs(shared(members, views, smallest)) do
      local document = redis.call('GET', proofs .. members[position])
      if document and is_live(document) then
        return document
      end
    end
  end
  return size > LONGEST_SEARCH and '' or nil
end

local start = ARGV[4] ~= '' and rank_after(view, newest, ARGV[4], ARGV[5]) or 0
local dangling, reply = {}, { '', '', false }
reply[3] = dangling
local last, examined = nil, 0

while #reply - 3 < limit and examined < scan and searched < LONGEST_SEARCH do
  local members = redis.call(range, view, start, start + math.min(STRIDE, scan - examined) - 1)
  if #members == 0 then
    return reply
  end
  local passed = 0
  for _, member in ipairs(members) do
    passed, last = passed + 1, member
    local proof = proof_of(member)
    if proof then
      local document = redis.call('GET', prefix .. member)
      if not document then
        dangling[#dangling + 1] = member
      elseif is_live(document) then
        reply[#reply + 1] = { document, proof }
        if #reply - 3 == limit then
          break
        end
      end
    end
    if searched >= LONGEST_SEARCH then
      break
    end
  end
  start, examined = start + passed, examined + passed
end

if start < redis.call('ZCARD', view) then
  reply[1], reply[2] = redis.call('ZSCORE', view, last), last
end
return reply
