--@ purpose  Compare, then apply: every guard is checked before the first row is written.
--@ flags
--@ key      1     clock      last revision of the partition
--@ key      2     expiry     sorted set of deadlines, member `Entity:id`
--@ key      3     ledger     answers of the latest plans of one client: a hash, slot -> sequence number and answer
--@ key      4     schema     registry of the partition: the current writer, and counts of writes by other code
--@ key      5..   documents  then views, then unique claims; ARGV[6] and ARGV[7] are the positions at which the last two begin
--@ argument 1     op         id of the plan, kept in the head of every document that it writes
--@ argument 2     slot       the client's slot in the ledger
--@ argument 3     sequence   number of the plan; a later plan in the same slot has a higher one
--@ argument 4     until      server time in microseconds after which the plan must not be applied
--@ argument 5     grace      milliseconds between a deadline and the native TTL behind it
--@ argument 6     views      number of keys before the first view
--@ argument 7     claims     number of keys before the first unique claim
--@ argument 8     renew      `renew` to extend the life of the ledger, else empty
--@ argument 9     try        `again` when an earlier try may still be on its way, else empty
--@ argument 10    writer     digest of the indexes that the writer keeps; empty when no row changes
--@ argument 11    shown      number of the document to return with EXISTS or CHANGED, 0 for none
--@ argument 12    commands   the commands that the rows call, in the order of their first call; `list` for rows that write into the expiry set, `unlist` for a put without a deadline
--@ argument 13..  guards     then the word `rows`, then rows. While partitions are doubled, `doubling`, the number of the hash `changed` among the claims, the number of partitions that there will be, and `all` or `half` come first
--@ guard    revision document revision op   the row is live and is the one that `op` wrote as `revision`; empty for any op
--@ guard    absent   document             no live row
--@ guard    absents  number               the guard `absent` for each of the first so many documents; only as the first guard
--@ guard    exists   document             a live row: the target of a reference
--@ guard    dead     document revision op   the same, for a row past its deadline
--@ guard    unchanged document revision op  the same, whether or not the row is past its deadline
--@ guard    same     document text        the document is this text
--@ guard    missing  document             no document at all
--@ guard    gone     document deadline    no document, and this deadline in the expiry set; empty for none
--@ guard    free     claims value owner   the unique value is free, or the owner's
--@ guard    holds    claims value owner   the unique value is the owner's
--@ guard    count    view number          the view has exactly this many members
--@ guard    member   view member          the view has this member
--@ guard    unfenced claims epoch         the hash, which is the fence of a home and no claims, does not refuse this epoch
--@ row      put      document member retain body entries    write a document. Retain is 0 for no deadline; microseconds from now, unless the row has a deadline; the same with a minus, whether or not it has one; or `=` and the deadline, which ends the row with this write if it has passed
--@ row      inserts  document rows cut bodies groups entries   write new documents without a deadline, numbered from `document` on; `cut` is the length of the keys before the ids; entries come in groups, each with one command
--@ row      delete   document member entries                delete a document
--@ row      entries  entries                                change entries only
--@ row      restore  document member revision created expires body entries   write a document with a given head
--@ row      deadline document member                        set the native TTL and the expiry entry from the head
--@ row      advance  revision                               move the clock on, so that later revisions are higher
--@ entry    add      view member score    score is `created`, `revision` or a number
--@ entry    adds     number member score views    the same for several views
--@ entry    remove   view member score    score is the one that it had, as of `add`; empty if it is not known
--@ entry    removes  number member score views
--@ entry    claim    claims value owner
--@ entry    release  claims value owner
--@ entry    add      view entries scores, then for each the row's number and score, or its number alone if `scores` is `revision`, or its member alone if it is `text`: of `inserts`
--@ entry    add      view 0 every         all rows, with their revisions as scores: of `inserts`
--@ entry    claim    claims entries '', then for each the row's number and value: of `inserts`
--@ reply    OK        revision created expires, for each document written; of `inserts` for the first one, and each of the others has the next revision
--@ reply    REPLAYED  answer             an earlier try was applied, and this was its answer
--@ reply    NEVER                        the plan was not applied, and an earlier answer promised its client that it never will be
--@ reply    STALE                        a later plan has used the slot: this one was answered long ago
--@ reply    LATE      now                `until` has passed; nothing was applied
--@ reply    MISSING   guard      revision, unchanged, same: the row is not there
--@ reply    CHANGED   guard '' shown  revision, unchanged, same, holds, gone: another write came in between
--@ reply    EXISTS    guard '' shown  absent, missing, gone: the row is there
--@ reply    DEAD      guard      absent: a row is past its deadline and not swept yet
--@ reply    FREED     guard      absent: the native TTL freed the row, and its entries are still there
--@ reply    ALIVE     guard      dead: the row is not past its deadline
--@ reply    NO_TARGET guard      exists: the referenced row is not there
--@ reply    TAKEN     guard owner  free: another row holds the value
--@ reply    COUNT     guard      count, member: the view has gained or lost members
--@ reply    FENCED    guard      unfenced: the home may have changed
--@ reply    SPLIT                        partitions are being doubled, and the client does not know that, or has to wait; the plan was not applied
--@ reply    CORRUPT   key                  a key holds something that Keyweave did not write
--@ include  put_one
--@ include  delete_rows
--@ include  time
--@ include  head
--@ include  ledger
--@ include  permission
--@ include  doubling

-- Locals are faster than globals, and the keys and arguments are read often.
local KEYS, ARGV, call, format = KEYS, ARGV, redis.call, string.format
local clock, expiry, ledger, schema = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local op, slot, sequence, grace = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
local views, claims = tonumber(ARGV[6]), tonumber(ARGV[7])
local writer, shown, commands = ARGV[10], tonumber(ARGV[11]), ARGV[12]
local DOCUMENTS = 4
local now = server_time()

local held = call('HGET', ledger, slot)
local answered = answer_of(held, sequence)
if answered then
  return answered
end
if now > tonumber(ARGV[4]) then
  return { 'LATE', format('%d', now) }
end

local last, suffix, phase = parse_clock(call('GET', clock))
if not last then
  return { 'CORRUPT', 1 }
end

-- Most words of one call: Lua passes a few thousand.
local MOST_WORDS = 1000

-- Rows that are new have no document, which one call shows for many of them. Only if it does not, each is read.
local at, heads, first, changed = 13, {}, 1, nil
if phase or ARGV[at] == 'doubling' then
  if is_outdated(phase, schema, ARGV[at] == 'doubling' and ARGV[at + 2], ARGV[at + 3]) then
    return { 'SPLIT' }
  end
  changed, at = KEYS[claims + ARGV[at + 1]], at + 4
end
if ARGV[at] == 'absents' then
  local new, present = tonumber(ARGV[at + 1]), 0
  for from = 1, new, MOST_WORDS do
    present = present
      + call('EXISTS', unpack(KEYS, DOCUMENTS + from, DOCUMENTS + math.min(from + MOST_WORDS - 1, new)))
  end
  first = present == 0 and new + 1 or 1
end
for index = first, views - DOCUMENTS do
  local head = read_head(KEYS[DOCUMENTS + index], now)
  if head == false then
    return { 'CORRUPT', DOCUMENTS + index }
  end
  heads[index] = head
end

-- A document's key is the tag of the partition and its member in the expiry set.
local TAG_LENGTH = #expiry - #'@expiry'

-- Whether the expiry set was read, and the documents that are known to have no entry in it.
local expiry_read, unlisted = false, {}

-- Words are compared one by one, here and below: a table of functions, and every function, would be built anew in each run.
local number = 0
while ARGV[at] ~= 'rows' do
  local word, subject = ARGV[at], tonumber(ARGV[at + 1])
  local head = heads[subject]
  local taken, status, owner = 1, nil, nil
  if word == 'revision' or word == 'unchanged' or word == 'dead' then
    taken = 3
    -- After a restart with a lost tail a revision may be handed out twice, so the op counts as well, where it is known.
    local same = head and head.revision == ARGV[at + 2] and (ARGV[at + 3] == '' or head.op == ARGV[at + 3])
    if word == 'dead' then
      status = not (same and head.dead) and 'ALIVE'
    elseif not head or word == 'revision' and head.dead then
      status = 'MISSING'
    else
      status = not same and 'CHANGED'
    end
  elseif word == 'absent' then
    if head then
      status = head.dead and 'DEAD' or 'EXISTS'
    else
      expiry_read, unlisted[subject] = true, true
      status = call('ZSCORE', expiry, string.sub(KEYS[DOCUMENTS + subject], TAG_LENGTH + 1)) and 'FREED'
    end
  elseif word == 'absents' then
    expiry_read = true
    local freed = call('ZCARD', expiry) > 0
    for from = 1, subject, MOST_WORDS do
      local to, members, deadlines = math.min(from + MOST_WORDS - 1, subject), {}, {}
      if freed then
        for index = from, to do
          members[index - from + 1] = string.sub(KEYS[DOCUMENTS + index], TAG_LENGTH + 1)
        end
        deadlines = call('ZMSCORE', expiry, unpack(members))
      end
      for index = from, to do
        local row = heads[index]
        status = row and (row.dead and 'DEAD' or 'EXISTS') or deadlines[index - from + 1] and 'FREED'
        if status then
          break
        end
        number, unlisted[index] = number + 1, true
      end
      if status then
        break
      end
    end
    -- The number of the last of these guards, or of the first that does not hold, is counted below.
    number = status and number or number - 1
  elseif word == 'exists' then
    status = (not head or head.dead) and 'NO_TARGET'
  elseif word == 'free' then
    taken, owner = 3, call('HGET', KEYS[claims + subject], ARGV[at + 2])
    status = owner and owner ~= ARGV[at + 3] and 'TAKEN'
  elseif word == 'holds' then
    taken, status = 3, call('HGET', KEYS[claims + subject], ARGV[at + 2]) ~= ARGV[at + 3] and 'CHANGED'
  elseif word == 'count' then
    taken, status = 2, call('ZCARD', KEYS[views + subject]) ~= tonumber(ARGV[at + 2]) and 'COUNT'
  elseif word == 'member' then
    taken, status = 2, not call('ZSCORE', KEYS[views + subject], ARGV[at + 2]) and 'COUNT'
  elseif word == 'same' then
    local text = call('GET', KEYS[DOCUMENTS + subject])
    taken, status = 2, not text and 'MISSING' or text ~= ARGV[at + 2] and 'CHANGED'
  elseif word == 'missing' then
    status = head and 'EXISTS'
  elseif word == 'gone' then
    local deadline = call('ZSCORE', expiry, string.sub(KEYS[DOCUMENTS + subject], TAG_LENGTH + 1))
    taken, status = 2, head and 'EXISTS' or tonumber(deadline or '') ~= tonumber(ARGV[at + 2]) and 'CHANGED'
  elseif word == 'unfenced' then
    local highest = tonumber(call('HGET', KEYS[claims + subject], 'epoch') or 0)
    taken, status = 2, (not highest or highest >= tonumber(ARGV[at + 2])) and 'FENCED'
  else
    error('no such guard: ' .. word)
  end
  number = number + 1
  if status then
    if ARGV[9] ~= '' then
      -- The answer reports the refusal, so an earlier try that arrives later must not be applied.
      call('HSET', ledger, slot, sequence .. ' NEVER')
      call('PEXPIRE', ledger, LEDGER_LIFE)
    end
    local refusal = { status, number, owner or '' }
    if shown > 0 and (status == 'EXISTS' or status == 'CHANGED') then
      refusal[4] = call('GET', KEYS[DOCUMENTS + shown])
    end
    return refusal
  end
  at = at + 1 + taken
end

-- Every other key is read in its own type before the first write, so that a key of the wrong type ends the script here. The expiry
-- set follows below, if it is written.
for index = views + 1, claims do
  call('ZCARD', KEYS[index])
end
for index = claims + 1, #KEYS do
  call('HLEN', KEYS[index])
end

-- Writes of code that may not keep every index are counted. If the registry was lost with all rows, by FLUSHALL beside an open
-- store, the first write names its writer, so that other code does not take the partition for one that is empty.
local behind, begins = false, false
if writer ~= '' then
  local current = call('HGET', schema, 'current')
  behind = current and current ~= writer
  begins = not current and last == 0
end

-- The first command of the rows needs no check if it is the first write: without permission it fails, and nothing is written.
local listing = false
for command in string.gmatch((behind or begins) and ' ' .. commands or commands, ' (%l+)') do
  if command == 'unlist' then
    -- A document that is put without a deadline may have an entry in the expiry set if its old document has a deadline, or if
    -- the native TTL freed it.
    for index = 1, views - DOCUMENTS do
      local head = heads[index]
      if head and head.expires > 0 or not head and not unlisted[index] then
        command = 'zrem'
      end
    end
    listing = listing or command == 'zrem'
  elseif command == 'list' then
    listing = true
  end
  if command ~= 'unlist' and command ~= 'list' then
    local refusal = refusal_of(command, clock)
    if refusal then
      return refusal
    end
  end
end
if listing and not expiry_read then
  call('ZCARD', expiry)
end
local renewed = not held or ARGV[8] ~= ''
if renewed then
  local refusal = refusal_of('pexpire', clock)
  if refusal then
    return refusal
  end
end

if phase == 'copy' then
  local refusal = refusal_of('hset', clock)
  if refusal then
    return refusal
  end
end

-- This is the first write, because it fails if the count is damaged.
if behind then
  call('HINCRBY', schema, 'behind:' .. writer, 1)
elseif begins then
  call('HSET', schema, 'current', writer)
end

-- Nothing below can fail: types, guards, scores and permissions were checked, and a full or read-only server does not start the
-- script.
local revision, advanced = math.max(last, now - 1), false
if phase == 'copy' then
  for index = 1, views - DOCUMENTS do
    call('HSET', changed, KEYS[DOCUMENTS + index], op)
  end
end
local reply = { 'OK' }

-- The native TTL: when the server frees a row that no sweep has removed. A time in the past would free the row at once and
-- leave its entries behind.
local function backstop(expires)
  local due = math.floor(expires / 1000) + grace
  return format('%d', due * 1000 > now and due or math.floor(now / 1000) + grace)
end

-- `written` and `created` are digits, `expires` is a number.
local function write_document(number, member, written, created, expires, body)
  local key, old, ends = KEYS[DOCUMENTS + number], heads[number], expires > 0 and format('%d', expires) or '0'
  local document = '{"revision":' .. written .. ',"created":' .. created .. ',"expires":' .. ends .. ',"op":"' .. op .. '"' .. body
  if expires > 0 then
    call('SET', key, document, 'PXAT', backstop(expires))
    call('ZADD', expiry, ends, member)
  else
    call('SET', key, document)
    -- If the native TTL freed the row, its deadline is still in the expiry set.
    if not unlisted[number] and (not old or old.expires > 0) then
      call('ZREM', expiry, member)
    end
  end
  local size = #reply
  reply[size + 1], reply[size + 2], reply[size + 3] = written, created, ends
end

-- The scores `revision` and `created` stand for `written` and `created`. Returns where the next row begins.
local function write_entries(from, written, created)
  local index, final = from + 1, from + tonumber(ARGV[from])
  while index <= final do
    local verb, number, member, score = ARGV[index], tonumber(ARGV[index + 1]), ARGV[index + 2], ARGV[index + 3]
    index = index + 4
    if verb == 'add' or verb == 'adds' then
      if score == 'created' then
        score = created
      elseif score == 'revision' then
        score = written
      end
      if verb == 'add' then
        call('ZADD', KEYS[views + number], score, member)
      else
        for each = index, index + number - 1 do
          call('ZADD', KEYS[views + ARGV[each]], score, member)
        end
        index = index + number
      end
    elseif verb == 'remove' then
      call('ZREM', KEYS[views + number], member)
    elseif verb == 'removes' then
      for each = index, index + number - 1 do
        call('ZREM', KEYS[views + ARGV[each]], member)
      end
      index = index + number
    elseif verb == 'claim' then
      call('HSET', KEYS[claims + number], member, score)
    elseif verb == 'release' then
      if call('HGET', KEYS[claims + number], member) == score then
        call('HDEL', KEYS[claims + number], member)
      end
    else
      error('no such entry: ' .. verb)
    end
  end
  return final + 1
end

at = at + 1
while at <= #ARGV do
  local word, number, written, created = ARGV[at], tonumber(ARGV[at + 1]), nil, nil
  if word == 'put' then
    local old = heads[number]
    local stays = old and not old.dead
    revision = revision + 1
    written = format('%d', revision)
    created = stays and old.created or written
    local retain, expires = tonumber(ARGV[at + 3]), 0
    if not retain then
      expires = math.max(tonumber(string.sub(ARGV[at + 3], 2)), now + 1)
    elseif retain < 0 then
      expires = now - retain
    elseif retain > 0 then
      expires = stays and old.expires > 0 and old.expires or now + retain
    end
    write_document(number, ARGV[at + 2], written, created, expires, ARGV[at + 4])
    at = write_entries(at + 5, written, created)
  elseif word == 'inserts' then
    local rows, cut, members, revisions = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]) + 1, {}, {}
    local head = ',"expires":0,"op":"' .. op .. '"'
    for index = 1, rows do
      local key = KEYS[DOCUMENTS + number + index - 1]
      revision = revision + 1
      written = format('%d', revision)
      call('SET', key, '{"revision":' .. written .. ',"created":' .. written .. head .. ARGV[at + 3 + index])
      members[index], revisions[index] = string.sub(key, cut), written
    end
    reply[2], reply[3], reply[4] = revisions[1], revisions[1], '0'
    -- Their entries, by view and by claims. No function: it would be built anew in each run.
    local every, from = nil, at + 4 + rows
    at = from + 1
    for _ = 1, tonumber(ARGV[from]) do
      local claiming, subject, count = ARGV[at] == 'claim', tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
      local command, key = claiming and 'HSET' or 'ZADD', KEYS[(claiming and claims or views) + subject]
      local scores = ARGV[at + 3]
      if scores == 'every' and not every then
        -- The words of all rows, which the views share.
        every = {}
        for index = 1, rows do
          local part = every[#every]
          if not part or #part == MOST_WORDS then
            part = {}
            every[#every + 1] = part
          end
          part[#part + 1] = revisions[index]
          part[#part + 1] = members[index]
        end
      end
      for index = 1, scores == 'every' and #every or 0 do
        call(command, key, unpack(every[index]))
      end
      local text = scores == 'text'
      local words, place, step = {}, 0, (text or scores == 'revision') and 1 or 2
      at = at + 4 + count * step
      for index = at - count * step, at - 1, step do
        if text then
          words[place + 1], words[place + 2] = '0', ARGV[index]
        else
          local row = tonumber(ARGV[index])
          words[place + 1], words[place + 2] = step == 1 and revisions[row] or ARGV[index + 1], members[row]
        end
        place = place + 2
        if place == MOST_WORDS then
          call(command, key, unpack(words))
          words, place = {}, 0
        end
      end
      if place > 0 then
        call(command, key, unpack(words))
      end
    end
  elseif word == 'delete' then
    call('DEL', KEYS[DOCUMENTS + number])
    -- A later put of the same document makes a new row.
    heads[number] = nil
    call('ZREM', expiry, ARGV[at + 2])
    at = write_entries(at + 3)
  elseif word == 'entries' then
    at = write_entries(at + 1)
  elseif word == 'restore' then
    written, created = ARGV[at + 3], ARGV[at + 4]
    revision = math.max(revision, tonumber(written))
    write_document(number, ARGV[at + 2], written, created, tonumber(ARGV[at + 5]), ARGV[at + 6])
    at = write_entries(at + 7, written, created)
  elseif word == 'deadline' then
    -- Sets the native TTL and the expiry entry of a document that stays as it is.
    local key, head, member = KEYS[DOCUMENTS + number], heads[number], ARGV[at + 2]
    if head and head.expires > 0 then
      call('PEXPIREAT', key, backstop(head.expires))
      call('ZADD', expiry, format('%d', head.expires), member)
    else
      call('PERSIST', key)
      call('ZREM', expiry, member)
    end
    at = at + 3
  elseif word == 'advance' then
    revision, advanced = math.max(revision, number), true
    at = at + 2
  else
    error('no such row: ' .. word)
  end
end
if #reply > 1 or advanced then
  call('SET', clock, format('%d', revision) .. suffix)
end
call('HSET', ledger, slot, sequence .. ' ' .. table.concat(reply, ' '))
if renewed then
  call('PEXPIRE', ledger, LEDGER_LIFE)
end
return reply
