--@ purpose  One page of a view with its documents, skipping rows past their deadline.
--@ flags    no-writes
--@ key      1  view
--@ argument 1  documents  prefix of the documents' keys; a member completes it
--@ argument 2  limit      most documents to return
--@ argument 3  direction  `newest` or `oldest` score first
--@ argument 4  score      score of the cursor, or empty to begin
--@ argument 5  member     member of the cursor
--@ argument 6  scan       most members to read
--@ reply    score member dangling document...   score and member of the next cursor, empty at the end of the view;
--@ reply    dangling lists the members without a document
--@ include  rank
--@ include  stretch

local view, newest = KEYS[1], ARGV[3] == 'newest'
local start = ARGV[4] ~= '' and rank_after(view, newest, ARGV[4], ARGV[5]) or 0
local reply = { '', '', false }
reply[1], reply[2], reply[3] = read_stretch(reply, view, ARGV[1], newest, start, tonumber(ARGV[2]), tonumber(ARGV[6]))
return reply
