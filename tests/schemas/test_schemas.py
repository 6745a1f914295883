"""The random schemas in short form; `make fuzz-schemas` plays thousands."""

from __future__ import annotations

import random
import secrets
from pathlib import Path

import pytest

from tests.schemas.draw import drawn
from tests.schemas.hold import accepted, hold, mypy_finds, write

FIXED = 2026


@pytest.mark.parametrize("fresh", [False, True], ids=["fixed", "fresh"])
def test_what_is_accepted_imports_and_works_and_has_types(fresh: bool, tmp_path: Path) -> None:
    first = secrets.randbelow(10**9) if fresh else FIXED
    packages, failures = hold(range(first, first + 30), tmp_path)
    found = mypy_finds(tmp_path, packages, tmp_path / ".mypy_cache")
    assert packages, f"first seed {first}"
    assert not failures, f"first seed {first}\n" + "\n".join(failures)
    assert not found, f"first seed {first}\n{found}"


CONSTANT = {
    "package.yaml": "package: constant_store\nnamespace: {app: a, version: v1, environment: e, tenant: t}\ngroups: {g: {}}\n"
    "enums: {Reason: {values: [bus]}}\n",
    "trip.yaml": """
entity: Trip
group: g
key: id
fields:
  id: {type: id}
  reason: {type: Reason, optional: true}
  late: {type: bool, optional: true}
checks:
  one: {rule: not (reason != Reason.bus)}
  two: {rule: "len(id) >= 0 and 8 != 2 and not (-8 == 2 or 2.5 == 8 or 8 in [2, 3]) and ('a' != 'b' or true == false)"}
retention: {when: late == true or len(id) >= 0 or late == true, after: 7d}
""",
}
"""Rules with parts that are constant: a type checker would see it, but a schema may say so."""


def test_rules_with_constant_parts_pass_the_type_checker(tmp_path: Path) -> None:
    schema = accepted(CONSTANT)
    assert schema is not None
    write(schema, tmp_path)
    assert not mypy_finds(tmp_path, ["constant_store"], tmp_path / ".mypy_cache")


def test_the_same_seed_gives_the_same_schema() -> None:
    state = random.getstate()
    assert drawn(7) == drawn(7) != drawn(8)
    assert random.getstate() == state


def test_some_are_accepted_and_some_refused() -> None:
    found = [accepted(drawn(seed)) is None for seed in range(FIXED, FIXED + 60)]
    assert 10 < sum(found) < 50
