"""The direct channel: sockets and pools of its own on the hiredis parser."""
