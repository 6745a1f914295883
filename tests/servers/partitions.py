"""How many partitions the group of executions has under test: `KEYWEAVE_TEST_PARTITIONS` says it, and the default is 1.

With `KEYWEAVE_TEST_DOUBLING=1` they are being doubled: half of them have given rows to their twins, and no process goes on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from keyweave.keyspace.spread import is_number_of_partitions

CHOICE: Final = "KEYWEAVE_TEST_PARTITIONS"
DOUBLED: Final = "KEYWEAVE_TEST_DOUBLING"


def chosen_partitions(environment: Mapping[str, str] | None = None) -> int:
    """Return the number of partitions under test.

    Raises:
        ValueError: `KEYWEAVE_TEST_PARTITIONS` is no number that a group can have.
    """
    text = (os.environ if environment is None else environment).get(CHOICE) or "1"
    if not text.isascii() or not text.isdigit() or not is_number_of_partitions(int(text)):
        raise ValueError(f"{CHOICE}={text}: must be a power of two from 1 to 1024")
    return int(text)


def are_doubled(environment: Mapping[str, str] | None = None) -> bool:
    """Return whether the partitions under test are being doubled."""
    return (os.environ if environment is None else environment).get(DOUBLED) == "1"
