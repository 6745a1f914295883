"""The direct channel: Keyweave's own sockets and pools, with the parser of hiredis."""
