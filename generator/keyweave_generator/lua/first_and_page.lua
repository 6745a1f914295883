--@ purpose  The live row with the highest score of a view, with the first page of the rows that refer to it.
--@ flags    no-writes
--@ key      1  view
--@ argument 1  documents  prefix of the documents' keys; a member completes it
--@ argument 2  scan       most members to read
--@ argument 3  referrers  prefix of the views of the rows that refer to one row; its escaped id completes it
--@ argument 4  referring  prefix of the keys of the referring rows' documents
--@ argument 5  limit      most referring rows to return
--@ argument 6  direction  `newest` or `oldest` score of the referring rows first
--@ argument 7  most       most referring members to read
--@ reply    row page      each as for `page`; without a row there is no page
--@ include  stretch
--@ include  escape

local row, page = { '', '', false }, { '', '', false }
local member
row[1], row[2], row[3], member = read_stretch(row, KEYS[1], ARGV[1], true, 0, 1, tonumber(ARGV[2]))
if not row[4] then
  return { row }
end
local view, newest = ARGV[3] .. escape(member), ARGV[6] == 'newest'
page[1], page[2], page[3] = read_stretch(page, view, ARGV[4], newest, 0, tonumber(ARGV[5]), tonumber(ARGV[7]))
return { row, page }
