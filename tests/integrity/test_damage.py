"""Every damage is named by its kind, repaired if it can be, and never costs data."""

from __future__ import annotations

import pytest

from tests.integrity.damage import Damage, Outcome
from tests.integrity.damages import DAMAGES
from tests.integrity.site import healthy


def test_a_healthy_keyspace_is_clean() -> None:
    with healthy("clean") as site:
        report, found = site.check()
        assert (report.clean, found) == (True, [])
        assert (report.documents, report.set_aside) == (21, 0)
        before = site.contents()
        assert site.reindex().mended.total() == 0
        assert site.contents() == before


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name.replace(" ", "-"))
def test_a_damage_is_named_and_repaired(damage: Damage) -> None:
    with healthy("damage") as site:
        before = site.contents()
        damage.do(site)
        damaged, data = site.contents(), site.data()
        assert site.kinds() == damage.kinds

        planned = site.reindex(dry_run=True)
        assert site.contents() == damaged
        assert {drift.kind for drift in planned.mended + planned.left} == damage.kinds

        repairs = site.reindex()
        assert repairs.complete == (damage.outcome is not Outcome.LEFT)
        assert not repairs.postponed
        assert site.data() >= data
        if damage.outcome is Outcome.RESTORED:
            assert site.contents() == before

        left = site.kinds()
        assert left == {drift.kind for drift in repairs.left}
        again = site.reindex()
        assert (again.mended.total(), again.left) == (0, repairs.left)
