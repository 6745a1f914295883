--@ purpose  Sizes of views without the rows that are past their deadline and not swept yet.
--@ flags    no-writes
--@ key      1     expiry
--@ key      2..   views
--@ argument 1     prefix  of this entity's members in the expiry set
--@ argument 2     bound   most members to look up
--@ argument 3     low     low end of a stretch as for `page`, or absent to count all entries
--@ argument 4     high    high end of the stretch
--@ reply    number...     one for each view
--@ reply    SWEEP_FIRST   counting would take more look-ups than the bound
--@ include  row
--@ include  text
--@ include  time

local expiry, prefix, bound = KEYS[1], ARGV[1], tonumber(ARGV[2])
local MANY, text = 1000, is_text(ARGV[3])
local now = server_time()
local until_now = string.format('%.0f', now)
local waiting = redis.call('ZCOUNT', expiry, '-inf', until_now)

-- The dead members of a view are found in the view or in the expiry set, whichever is smaller. In an order of strings no key finds a
-- member, so they are found in the view.
local sizes, work = {}, 0
for index = 2, #KEYS do
  local size = ARGV[3] and redis.call(text and 'ZLEXCOUNT' or 'ZCOUNT', KEYS[index], ARGV[3], ARGV[4])
    or redis.call('ZCARD', KEYS[index])
  sizes[index - 1] = size
  work = work + (text and size or math.min(size, waiting))
end
if waiting == 0 then
  return sizes
end
if work > bound then
  return { 'SWEEP_FIRST' }
end

local function scores(key, names)
  local found = {}
  for from = 1, #names, MANY do
    local part = redis.call('ZMSCORE', key, unpack(names, from, math.min(from + MANY - 1, #names)))
    for index = 1, #part do
      found[from + index - 1] = part[index]
    end
  end
  return found
end

local dead

local function dead_members()
  if not dead then
    dead = {}
    for _, row in ipairs(redis.call('ZRANGEBYSCORE', expiry, '-inf', until_now)) do
      if string.sub(row, 1, #prefix) == prefix then
        dead[#dead + 1] = string.sub(row, #prefix + 1)
      end
    end
  end
  return dead
end

local lowest, highest = tonumber(ARGV[3] or '-inf'), tonumber(ARGV[4] or '+inf')
local range = text and 'ZRANGEBYLEX' or 'ZRANGEBYSCORE'

local function count_dead(view, size)
  local count = 0
  if text or size <= waiting then
    local names = ARGV[3] and redis.call(range, view, ARGV[3], ARGV[4]) or redis.call('ZRANGE', view, 0, -1)
    for index = 1, #names do
      names[index] = prefix .. row_of(names[index], text)
    end
    local deadlines = scores(expiry, names)
    for index = 1, #names do
      if deadlines[index] and tonumber(deadlines[index]) <= now then
        count = count + 1
      end
    end
  else
    local names = dead_members()
    local found = scores(view, names)
    for index = 1, #names do
      local score = found[index] and tonumber(found[index])
      if score and score >= lowest and score <= highest then
        count = count + 1
      end
    end
  end
  return count
end

for index = 2, #KEYS do
  local size = sizes[index - 1]
  if size > 0 then
    sizes[index - 1] = size - count_dead(KEYS[index], size)
  end
end
return sizes
