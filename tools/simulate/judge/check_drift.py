"""Drift: the real check finds none, and neither does a comparison of documents and entries past every flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keyweave.errors import KeyweaveError
from keyweave.expiry.sweep import sweep
from keyweave.integrity.check import check
from keyweave.model.entry import CREATED, REVISION, ViewEntry
from keyweave.model.record import memory_of
from tools.simulate.judge.rows import documents_of
from tools.simulate.server.sorted_set import SortedSet

if TYPE_CHECKING:
    from tools.simulate.run import Run


def check_drift(run: Run) -> None:
    """Sweep what is due, then compare."""
    context = run.outside()
    try:
        run.direct(sweep(context))
        report = run.direct(check(context))
    except KeyweaveError as error:
        run.complain("drift", f"the check ended with {error!r}")
        return
    if not report.clean:
        run.complain("drift", f"the check reports {dict(report.drift)}")
    found = {
        key.decode(): dict(value.scores) if isinstance(value, SortedSet) else dict(value)
        for key, value in run.node.database.values.items()
        if isinstance(value, SortedSet | dict) and b"}:@" not in key
    }
    expected = _expected(run, context)
    for key in sorted({*found, *expected}):
        if found.get(key, {}) != expected.get(key, {}):
            name = key.partition("}:")[2]
            run.complain(
                "drift", f"{name} holds {found.get(key, {})}, its documents imply {expected.get(key, {})}"
            )


def _expected(run: Run, context: Any) -> dict[str, dict[bytes, Any]]:
    """Every view and claim that the documents imply."""
    expected: dict[str, dict[bytes, Any]] = {}
    partition = context.keyspace.partitions()[0]
    for (name, _), document in documents_of(run.node.database, partition.tag).items():
        entity = run.package.entities[name]
        record = context.codecs[name].load(document)
        stored = memory_of(record)
        assert stored is not None
        moments = {CREATED: stored.created, REVISION: stored.revision}
        for entry in entity.entries(record):
            if isinstance(entry, ViewEntry):
                key = partition.view(name, entry.view, entry.values)
                score = float(moments[entry.score] if isinstance(entry.score, str) else entry.score)
                expected.setdefault(key, {})[entry.member.encode()] = score
            else:
                key = partition.claims(name, entry.unique)
                expected.setdefault(key, {})[entry.value.encode()] = entry.owner.encode()
    return expected
