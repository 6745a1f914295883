"""Queries find what PostgreSQL finds; `make parity-queries` compares many more."""

from __future__ import annotations

import pytest

from tests.queries.compare import play


@pytest.mark.parametrize("seed", range(4))
def test_queries_find_what_postgresql_finds(seed: int) -> None:
    play(seed, 60)
