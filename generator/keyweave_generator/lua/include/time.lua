-- Server time in microseconds since 1970. Sixteen digits from 2001 until 2286, so a head has a fixed layout.
local function server_time()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end
