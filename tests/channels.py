"""How the stores of the tests reach their server.

`KEYWEAVE_TEST_CHANNEL` chooses: `direct` (the default) by a store's own connections, `redis_py` over a client of redis-py,
and `cluster` over a client of a real cluster, which takes the place of the one server: `server_url` is its URL.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

CHOICE: Final = "KEYWEAVE_TEST_CHANNEL"
CHANNELS: Final = ("direct", "redis_py", "cluster")


def chosen_channel(environment: Mapping[str, str] = os.environ) -> str:
    """The channel under test: one of `CHANNELS`.

    Raises:
        ValueError: the variable names none of them.
    """
    chosen = environment.get(CHOICE) or CHANNELS[0]
    if chosen not in CHANNELS:
        raise ValueError(f"{CHOICE}={chosen}: must be one of {', '.join(CHANNELS)}")
    return chosen
