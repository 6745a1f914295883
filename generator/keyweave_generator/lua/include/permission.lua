-- An error reply if the user may not run a command. A script that writes more than once checks the commands behind its first
-- write before that write, because Redis has no rollback. Servers before Redis 7 cannot answer, and nothing is refused there.
-- The key is one that the script may access: only the command is in question.
local may_run = redis.acl_check_cmd

local function refusal_of(command, key)
  if may_run and not may_run(command, key) then
    return redis.error_reply("NOPERM the user has no permissions to run the '" .. command .. "' command")
  end
end
