"""What must hold with several partitions: at every moment on the servers, and at the end.

At every moment: no key has two rows, no unique value two owners, and each of them a home that names its partition. So a row whose
write was acknowledged is found by its key and by its unique values. At the end the store finds what the servers hold, a sweep leaves
no home without a row, the real check is clean, and no key or value is left that cannot be used again in another partition.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from keyweave.errors import KeyweaveError
from keyweave.expiry.sweep import sweep
from keyweave.homes.home import Homed, has_homes, is_located, read_home
from keyweave.integrity.check import check
from keyweave.keyspace.keys import Keyspace
from keyweave.keyspace.spread import place_of
from keyweave.model.entry import ClaimEntry
from keyweave.read.get import find, find_by, get_many
from keyweave.read.query import view_query
from keyweave.read.query_page import page
from keyweave.repartition.grow import repartition
from keyweave.store.context import Context
from keyweave.write.delete import discard
from keyweave.write.save import create
from tools.simulate.judge.check_deadlines import check_deadlines
from tools.simulate.judge.check_drift import compare
from tools.simulate.judge.check_outcomes import check_outcomes
from tools.simulate.judge.check_promises import check_promises
from tools.simulate.judge.check_registers import check_registers
from tools.simulate.judge.rows import Rows, rows_of
from tools.simulate.partitions.arena import CODES, GROUP, ITEMS, OWNERS, PARTS, TICKETS
from tools.simulate.server.node import Node

if TYPE_CHECKING:
    from tools.simulate.partitions.run import SpreadRun

_NAMES: Final = {"Item": ITEMS, "Box": OWNERS, "Part": PARTS, "Ticket": TICKETS}


class _Watched(NamedTuple):
    """A key or unique value, and where it can be.

    Attributes:
        thing: what it is.
        places: of each partition the server, and the document or the hash of claims.
        homes: of each partition the server, and the hash of homes; None for a key from which its partition follows.
    """

    thing: Homed
    places: list[tuple[Node, bytes]]
    homes: list[tuple[Node, bytes]] | None


class Watch:
    """Looks at the servers after each step."""

    def __init__(self, run: SpreadRun) -> None:
        self._run: Final = run
        self._watched: Final = list(_watched(run))
        self.broken = False

    def look(self) -> None:
        """Report the first thing that is wrong: every step is atomic, so nothing may be wrong at any moment."""
        if self.broken:
            return
        spread = self._run.standing.keyspace()
        grows, alone = self._run.first is not None, len(spread.holders(GROUP)) == 1
        for each in self._watched:
            there = [number for number, place in enumerate(each.places) if _is_there(each.thing, *place)]
            found = there
            if grows:
                rows = [number for number in there if self._document(each, number) is not None]
                found = [number for number in rows if self._is_row(each, number)]
                there = rows
            if not there:
                continue
            thing = each.thing
            name = (
                f"{thing.entity.name}.{thing.unique} {thing.value}"
                if thing.unique
                else thing.entity.row(thing.value)
            )
            if found != there and not spread.doublings:
                self._complain("stray copy", f"{name} is in the partitions {there}, and belongs to {found}")
            elif len(found) > 1:
                self._complain(
                    "two owners" if thing.unique else "two rows", f"{name} is in the partitions {found}"
                )
            elif found and each.homes is not None and not alone:
                home = _home_of(each, spread)
                if home not in found:
                    self._complain("lost home", f"{name} is in partition {found[0]}, and its home is {home}")

    def _document(self, each: _Watched, number: int) -> bytes | None:
        """The document of the row in a partition; None for a claim whose row the server has freed."""
        node, key = each.places[number]
        stored = node.database.values.get(key)
        if isinstance(stored, dict):
            partition, thing = self._run.whole.at(GROUP, number), each.thing
            owner = partition.document(thing.entity.name, stored[thing.value.encode()].decode())
            stored = node.database.values.get(owner.encode())
        return stored if isinstance(stored, bytes) else None

    def _is_row(self, each: _Watched, number: int) -> bool:
        """Whether a document is a row, and neither a copy before rows have moved nor what they left behind."""
        run, document = self._run, self._document(each, number)
        return document is not None and run.is_row(
            run.whole.at(GROUP, number), each.thing.entity.name, document
        )

    def _complain(self, checker: str, text: str) -> None:
        self.broken = True
        self._run.complain(checker, text)


def _watched(run: SpreadRun) -> Iterator[_Watched]:
    partitions = run.whole.partitions()
    servers = {partition: run.masters.node_of(partition) for partition in partitions}

    def homes(thing: Homed) -> list[tuple[Node, bytes]]:
        name = thing.entity.name
        return [(servers[each], each.homes(name, thing.unique).encode()) for each in partitions]

    for name, keys in _NAMES.items():
        entity = run.package.entities[name]
        for key in keys:
            thing = Homed(entity, "", key)
            places = [(servers[each], each.document(name, key).encode()) for each in partitions]
            yield _Watched(thing, places, None if is_located(entity) else homes(thing))
        for unique in entity.uniques:
            assert has_homes(entity, unique)
            for code in CODES:
                thing = Homed(entity, unique, code)
                places = [(servers[each], each.claims(name, unique).encode()) for each in partitions]
                yield _Watched(thing, places, homes(thing))


def _is_there(thing: Homed, node: Node, key: bytes) -> bool:
    database = node.database
    value = database.values.get(key)
    if value is None:
        return False
    if isinstance(value, dict):
        return thing.value.encode() in value
    ends = database.deadlines.get(key)
    return ends is None or ends * 1000 > node.database.now


def _home_of(each: _Watched, spread: Keyspace) -> int | None:
    """The partition that the home names, in the partition that has the home."""
    assert each.homes is not None
    node, key = each.homes[spread.holder(GROUP, place_of(each.thing.value)).index]
    homes = node.database.values.get(key)
    stored = homes.get(each.thing.value.encode()) if isinstance(homes, dict) else None
    return spread.holder(GROUP, read_home(stored).place).index if stored is not None else None


def judge(run: SpreadRun) -> int:
    """Judge a run; violations are reported to it. Returns how many histories were too long to decide.

    A doubling that is unfinished is judged as it is, and then completed.
    """
    run.catch_up()
    context = run.opened()
    compare(run)
    rows = rows_of(run)
    broken = check_promises(run, rows)
    check_deadlines(run)
    check_outcomes(run)
    undecided = check_registers(run, rows, broken)
    if not run.violations:
        try:
            _finds(run, context, rows)
            _completes(run, context, rows)
            _sweeps(run, context)
            _can_be_used(run, context)
        except KeyweaveError as error:
            run.complain("end", f"it ended with {error!r}")
    return undecided


def _finds(run: SpreadRun, context: Context, rows: Rows) -> None:
    """The store finds what the servers hold: by key, by unique value, and in pages over all partitions."""
    items, entity = rows["Item"], run.package.entities["Item"]
    found = run.direct(get_many(context, entity, list(ITEMS)))
    for key, record in zip(ITEMS, found, strict=True):
        _same(run, f"get_many of {key}", record, items.get(key))
        _same(run, f"find of {key}", run.direct(find(context, entity, key)), items.get(key))
    for name in ("Item", "Box"):
        for code in CODES:
            claim = ClaimEntry("code", code, "")
            owner = next((each for each in rows[name].values() if each.code == code), None)
            record = run.direct(find_by(context, run.package.entities[name], claim))
            _same(run, f"find of the {name} with {code}", record, owner)
    pages: list[Any] = []
    cursor: str | None = None
    while True:
        part = run.direct(page(context, view_query(entity, "all", ()), 2, cursor))
        pages += [record.id for record in part.rows]
        cursor = part.cursor
        if cursor is None:
            break
    wanted = sorted(items, key=lambda key: (items[key].created_at, key), reverse=True)
    if pages != wanted:
        run.complain("page", f"pages have {pages}, and the partitions {wanted}")


def _completes(run: SpreadRun, context: Context, rows: Rows) -> None:
    """A doubling that was interrupted is completed by the next run of the command, and nothing but the place of rows changes."""
    if not context.keyspace.doublings:
        return
    run.direct(repartition(context, GROUP, run.standing.keyspace().number(GROUP), lambda stage: None))
    compare(run)
    now = rows_of(run)
    for name, records in rows.items():
        if name != "Ticket" and records != now[name]:
            run.complain("repartition", f"{name} were {records}, and are {now[name]}")
    _finds(run, context, now)


def _same(run: SpreadRun, what: str, found: Any, held: Any) -> None:
    if (found and found.token) != (held and held.token):
        run.complain("find", f"{what}: {found}, and the servers hold {held}")


def _sweeps(run: SpreadRun, context: Context) -> None:
    """After a sweep there is no home without a row, and the check is clean."""
    run.direct(sweep(context))
    report = run.direct(check(context))
    if not report.clean:
        run.complain("check", f"it reports {dict(report.drift)}")
    if report.vacant:
        run.complain("check", f"a sweep left {report.vacant} homes without a row")


def _can_be_used(run: SpreadRun, context: Context) -> None:
    """Every key and every code can be used in each partition, one after the other."""
    item = run.package.entities["Item"]
    for key in ITEMS:
        run.direct(discard(context, item, key))
    for number, owner in enumerate(OWNERS):
        key, code = ITEMS[number % len(ITEMS)], CODES[number % len(CODES)]
        record = item.record(id=key, owner=owner, token=f"end {owner}", code=code, state="open")
        run.direct(create(context, item, record))
        _same(run, f"the last {key}", run.direct(find(context, item, key)), record)
        run.direct(discard(context, item, key))
