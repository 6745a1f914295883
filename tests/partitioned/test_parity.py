"""Random calls have the results, the errors and the rows of one partition; `make parity-partitions` makes many more."""

from __future__ import annotations

import pytest

from tests.partitioned.parity.play import play


@pytest.mark.parametrize("seed", range(4))
def test_several_partitions_do_what_one_does(seed: int) -> None:
    play(seed, 100)
