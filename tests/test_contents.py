"""Two readings of one keyspace are equal if nothing was written in between."""

from __future__ import annotations

from typing import Any

from tests.contents import contents
from tests.servers.running import configured_server


def as_pairs(reply: Any) -> list[Any]:
    """Fields and values as the server orders them, in both versions of its protocol."""
    return [part for pair in reply.items() for part in pair] if isinstance(reply, dict) else list(reply)


def test_the_order_of_a_hash_is_no_difference() -> None:
    """Two hashes with the same fields, of which one has more buckets: so is one that the server rehashes just now."""
    fields = {f"field{number}": "x" * 100 for number in range(10)}
    with configured_server() as server, server.client() as client:
        client.set_response_callback("HGETALL", as_pairs)
        client.hset("small", mapping=fields)
        client.hset("large", mapping={**{f"gone{number}": "x" for number in range(2000)}, **fields})
        client.hdel("large", *(f"gone{number}" for number in range(2000)))
        assert client.dump("small") != client.dump("large")
        small, large = contents(client.execute_command, "*").values()
        assert small == large
        client.hset("small", "field0", "y")
        changed = contents(client.execute_command, "*")
        assert changed[b"small"] != changed[b"large"]
