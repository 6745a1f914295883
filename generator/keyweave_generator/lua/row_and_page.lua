--@ purpose  A row with the first page of the rows that refer to it.
--@ flags    no-writes
--@ key      1  document   of the row
--@ key      2  view       of the rows that refer to it
--@ argument 1  documents  prefix of the keys of the referring rows' documents
--@ argument 2  limit      most referring rows to return
--@ argument 3  direction  `newest` or `oldest` score first
--@ argument 4  scan       most members to read
--@ reply    row score member dangling document...   the row's document, then as for `page`; null alone when there is no row
--@ include  live
--@ include  stretch

local row = redis.call('GET', KEYS[1])
if not row then
  return false
end
local reply = { row, '', '', {} }
if is_live(row) then
  local newest = ARGV[3] == 'newest'
  reply[2], reply[3], reply[4] = read_stretch(reply, KEYS[2], ARGV[1], newest, 0, tonumber(ARGV[2]), tonumber(ARGV[4]))
end
return reply
