-- An error reply if the user may not run a command. A script that writes more than once checks the commands behind its first
-- write before that write, because Redis has no rollback. Servers before Redis 7 cannot answer, and nothing is refused there.
-- The key is one that the script may access: only the command is in question.
local may_run = redis.acl_check_cmd

-- Redis 8 refuses to answer for a wrong number of arguments, so the check gets as many as the command takes.
local function permitted(command, key)
  if command == 'zadd' or command == 'hset' or command == 'hincrby' then
    return may_run(command, key, '1', '1')
  elseif command == 'del' or command == 'hlen' or command == 'zcard' or command == 'persist' then
    return may_run(command, key)
  elseif command == 'time' then
    return may_run(command)
  end
  return may_run(command, key, '1')
end

local function refusal_of(command, key)
  if may_run and not permitted(command, key) then
    return redis.error_reply("NOPERM the user has no permissions to run the '" .. command .. "' command")
  end
end
