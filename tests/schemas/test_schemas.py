"""The random schemas in short form; `make fuzz-schemas` plays thousands."""

from __future__ import annotations

import random
import secrets
from pathlib import Path

import pytest

from tests.schemas.draw import drawn
from tests.schemas.hold import accepted, hold, mypy_finds

FIXED = 2026


@pytest.mark.parametrize("fresh", [False, True], ids=["fixed", "fresh"])
def test_what_is_accepted_imports_and_works_and_has_types(fresh: bool, tmp_path: Path) -> None:
    first = secrets.randbelow(10**9) if fresh else FIXED
    packages, failures = hold(range(first, first + 30), tmp_path)
    found = mypy_finds(tmp_path, packages, tmp_path / ".mypy_cache")
    assert packages, f"first seed {first}"
    assert not failures, f"first seed {first}\n" + "\n".join(failures)
    assert not found, f"first seed {first}\n{found}"


def test_the_same_seed_gives_the_same_schema() -> None:
    state = random.getstate()
    assert drawn(7) == drawn(7) != drawn(8)
    assert random.getstate() == state


def test_some_are_accepted_and_some_refused() -> None:
    found = [accepted(drawn(seed)) is None for seed in range(FIXED, FIXED + 60)]
    assert 10 < sum(found) < 50
