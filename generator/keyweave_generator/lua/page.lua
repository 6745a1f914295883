--@ purpose  One page of a view with its documents, skipping rows past their deadline.
--@ flags    no-writes
--@ key      1  view
--@ argument 1  documents  prefix of the documents' keys; a member completes it
--@ argument 2  limit      most documents to return
--@ argument 3  direction  `newest` or `oldest` score first
--@ argument 4  score      score of the cursor, or empty to begin
--@ argument 5  member     member of the cursor
--@ argument 6  scan       most members to read
--@ argument 7  low        lowest score of a stretch, or absent for the whole view; in an order of strings what members are not below
--@ argument 8  high       highest score of the stretch; in an order of strings what members are below
--@ reply    score member dangling document...   score and member of the next cursor, empty at the end of the view;
--@ reply    dangling lists the members without a document
--@ include  ends
--@ include  rank
--@ include  stretch
--@ include  text

local view, newest, text = KEYS[1], ARGV[3] == 'newest', is_text(ARGV[7])
local start, stop = 0, nil
if ARGV[7] then
  start, stop = ranks_between(view, newest, ARGV[7], ARGV[8], text)
end
if ARGV[4] ~= '' then
  start = math.max(start, rank_after(view, newest, ARGV[4], ARGV[5], text))
end
local reply = { '', '', false }
local limit, scan = tonumber(ARGV[2]), tonumber(ARGV[6])
reply[1], reply[2], reply[3] = read_stretch(reply, view, ARGV[1], newest, start, limit, scan, stop, text)
return reply
