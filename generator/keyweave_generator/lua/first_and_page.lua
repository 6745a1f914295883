--@ purpose  The first live row of a view, highest score first, with the first rows of a view of those that refer to it.
--@ flags    no-writes
--@ key      1  view
--@ argument 1  documents  prefix of the documents' keys; a member completes it
--@ argument 2  scan       most members to look at
--@ argument 3  referrers  prefix of the views of those that refer to one row; its escaped id completes it
--@ argument 4  theirs     prefix of the keys of their documents
--@ argument 5  limit      most of them to return
--@ argument 6  direction  `newest` or `oldest` score of them first
--@ argument 7  most       most of them to look at
--@ reply    row family    each as for `page`; there is no family without a row
--@ include  time
--@ include  live
--@ include  stretch
--@ include  escape

local row, family = { '', '', false }, { '', '', false }
local member
row[1], row[2], row[3], member = read_stretch(row, KEYS[1], ARGV[1], true, 0, 1, tonumber(ARGV[2]))
if not row[4] then
  return { row }
end
local view, newest = ARGV[3] .. escape(member), ARGV[6] == 'newest'
family[1], family[2], family[3] = read_stretch(family, view, ARGV[4], newest, 0, tonumber(ARGV[5]), tonumber(ARGV[7]))
return { row, family }
