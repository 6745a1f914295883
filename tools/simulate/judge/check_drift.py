"""Drift: the real check finds none, and neither does a comparison of documents and entries past every flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keyweave.errors import KeyweaveError
from keyweave.expiry.sweep import sweep
from keyweave.integrity.check import check
from keyweave.keyspace.keys import Partition
from keyweave.model.entry import CREATED, REVISION, ViewEntry
from keyweave.model.record import memory_of
from tools.simulate.judge.rows import documents_of
from tools.simulate.server.database import Database
from tools.simulate.server.sorted_set import SortedSet

if TYPE_CHECKING:
    from tools.simulate.run import Run


def check_drift(run: Run) -> None:
    """Sweep what is due, then compare. A clock that was set back has caught up by then: freed rows are past their deadline."""
    context = run.outside()
    run.catch_up()
    try:
        run.direct(sweep(context))
        report = run.direct(check(context))
    except KeyweaveError as error:
        run.complain("check", f"it ended with {error!r}")
        return
    if not report.clean:
        run.complain("check", f"it reports {dict(report.drift)}")
    compare(run)


def compare(run: Run) -> bool:
    """Compare documents and entries of every partition. Returns whether they agree."""
    return all(_agree(run, database, partition) for database, partition in run.places())


def _agree(run: Run, database: Database, partition: Partition) -> bool:
    """Compare documents and entries as they are at this moment; writes are atomic, so they agree at any. Returns whether they do.

    Entries of a row that the server has freed by its native TTL stay until its deadline is swept.
    """
    tag = partition.tag.encode()
    found = {
        key.decode(): dict(value.scores) if isinstance(value, SortedSet) else dict(value)
        for key, value in database.values.items()
        if isinstance(value, SortedSet | dict) and key.startswith(tag) and b"}:@" not in key
    }
    complaints = len(run.violations)
    expected = _expected(run, database, partition)
    if len(run.violations) > complaints:
        return False
    for key in sorted({*found, *expected}):
        ours: dict[bytes, Any] = dict(found.get(key, {}))
        theirs = expected.get(key, {})
        if ours != theirs:
            entity = key.partition("}:")[2].partition(".")[0]
            freed = _freed(database, partition, entity)
            ours = {name: value for name, value in ours.items() if name not in freed and value not in freed}
        if ours != theirs:
            name = key.partition("}:")[2]
            _complain(run, f"{name} holds {ours}, its documents imply {theirs}")
            return False
    return True


def _complain(run: Run, text: str) -> None:
    doubts = any(act.doubts for act in run.history.acts)
    run.complain("drift, with retries" if doubts else "drift", text)


def _freed(database: Database, partition: Partition, entity: str) -> set[bytes]:
    """Ids of rows that have a deadline and no document."""
    deadlines = database.values.get(partition.expiry.encode())
    members = deadlines.scores if isinstance(deadlines, SortedSet) else {}
    documents = documents_of(database, partition.tag)
    pairs = [member.decode().partition(":") for member in members]
    return {key.encode() for name, _, key in pairs if name == entity and (name, key) not in documents}


def _expected(run: Run, database: Database, partition: Partition) -> dict[str, dict[bytes, Any]]:
    """Every view and claim that the documents of a partition imply."""
    expected: dict[str, dict[bytes, Any]] = {}
    context = run.reader
    documents = documents_of(database, partition.tag)
    for (name, row), document in documents.items():
        entity = run.package.entities[name]
        record = context.codecs[name].load(document)
        stored = memory_of(record)
        assert stored is not None
        for reference in entity.references:
            target = getattr(record, reference.field)
            missing = target is not None and (reference.target, target) not in documents
            if missing and run.is_row(partition, name, document):
                run.complain(
                    "reference", f"{name} {row} refers to {reference.target} {target}, which is missing"
                )
        moments = {CREATED: stored.created, REVISION: stored.revision}
        for entry in entity.entries(record):
            if isinstance(entry, ViewEntry):
                key = partition.view(name, entry.view, entry.values)
                score = float(moments[entry.score] if isinstance(entry.score, str) else entry.score)
                expected.setdefault(key, {})[entry.member.encode()] = score
            else:
                key = partition.claims(name, entry.unique)
                owner = expected.get(key, {}).get(entry.value.encode())
                if owner is not None:
                    text = f"{name} {owner.decode()} and {row} both have the {entry.unique} {entry.value}"
                    run.complain("unique", text)
                expected.setdefault(key, {})[entry.value.encode()] = entry.owner.encode()
    return expected
