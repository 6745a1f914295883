"""What a store reports does not grow with its tenants, and never names one."""

from __future__ import annotations

import pytest

from tests.harness import FLAVOURS, harness, user
from tests.servers.running import new_namespace
from tests.telemetry.recording import Recording


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_tenants_add_no_series_and_no_name_to_what_is_reported(flavour: str) -> None:
    recording = Recording()
    with harness(flavour, "telemetry", **recording.options) as stores:
        stores.do(stores.db.users.create(user("u")))
        stores.do(stores.db.users.find("u"))
        series = {(point.metric, *sorted(point.attributes.items())) for point in recording.points()}
        marks = [new_namespace("planted") for _ in range(20)]
        for mark in marks:
            tenant = stores.db.tenant(mark)
            stores.do(tenant.users.create(user("u")))
            stores.do(tenant.users.find("u"))
        points = recording.points()
        assert {(point.metric, *sorted(point.attributes.items())) for point in points} == series
        assert recording.total("db.client.operation.duration", db_operation_name="create") == 21
        shown = repr(points) + "".join(span.to_json() for span in recording.exporter.get_finished_spans())
        assert [mark for mark in marks if mark in shown] == []
        assert stores.db.tenant(marks[0]).stats is stores.db.stats
