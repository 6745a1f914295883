-- An error reply if the user may not run a command. A script that writes more than once checks the commands behind its first
-- write before that write, because Redis has no rollback. Servers before Redis 7 cannot answer, and nothing is refused there.
-- The key is one that the script may access: only the command is in question.
local may_run = redis.acl_check_cmd

-- Redis 8 refuses to answer for a wrong number of arguments, so the check gets as many as the command takes.
local function refusal_of(command, key)
  if not may_run then
    return nil
  end
  local permitted
  if command == 'zadd' or command == 'hset' or command == 'hincrby' then
    permitted = may_run(command, key, '1', '1')
  elseif command == 'del' or command == 'hlen' or command == 'zcard' or command == 'persist' then
    permitted = may_run(command, key)
  elseif command == 'time' then
    permitted = may_run(command)
  else
    permitted = may_run(command, key, '1')
  end
  if not permitted then
    return redis.error_reply("NOPERM the user has no permissions to run the '" .. command .. "' command")
  end
end
