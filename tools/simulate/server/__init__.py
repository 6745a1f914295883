"""One server in memory: exactly the commands that flows and scripts use, and the real scripts in Lua."""
