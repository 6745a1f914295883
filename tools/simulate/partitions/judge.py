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
from keyweave.model.entry import ClaimEntry
from keyweave.read.get import find, find_by, get_many
from keyweave.read.query import view_query
from keyweave.read.query_page import page
from keyweave.store.context import Context
from keyweave.write.delete import discard
from keyweave.write.save import create
from tools.simulate.judge.check_deadlines import check_deadlines
from tools.simulate.judge.check_drift import compare
from tools.simulate.judge.check_outcomes import check_outcomes
from tools.simulate.judge.check_promises import check_promises
from tools.simulate.judge.check_registers import check_registers
from tools.simulate.judge.rows import Rows, rows_of
from tools.simulate.partitions.arena import CODES, ITEMS, OWNERS, PARTS, TICKETS
from tools.simulate.server.node import Node

if TYPE_CHECKING:
    from tools.simulate.partitions.run import SpreadRun

_NAMES: Final = {"Item": ITEMS, "Box": OWNERS, "Part": PARTS, "Ticket": TICKETS}


class _Watched(NamedTuple):
    """A key or unique value, and where it can be.

    Attributes:
        thing: what it is.
        places: of each partition the server, and the document or the hash of claims.
        home: the server and the hash of its home; None for a key from which its partition follows.
    """

    thing: Homed
    places: list[tuple[Node, bytes]]
    home: tuple[Node, bytes] | None


class Watch:
    """Looks at the servers after each step."""

    def __init__(self, run: SpreadRun, context: Context) -> None:
        self._run: Final = run
        self._watched: Final = list(_watched(run, context))
        self.broken = False

    def look(self) -> None:
        """Report the first thing that is wrong: every step is atomic, so nothing may be wrong at any moment."""
        if self.broken:
            return
        for each in self._watched:
            found = [number for number, place in enumerate(each.places) if _is_there(each.thing, *place)]
            if not found:
                continue
            thing, home = each.thing, _home_of(each)
            name = (
                f"{thing.entity.name}.{thing.unique} {thing.value}"
                if thing.unique
                else thing.entity.row(thing.value)
            )
            if len(found) > 1:
                self._complain(
                    "two owners" if thing.unique else "two rows", f"{name} is in the partitions {found}"
                )
            elif each.home is not None and home not in found:
                self._complain("lost home", f"{name} is in partition {found[0]}, and its home is {home}")

    def _complain(self, checker: str, text: str) -> None:
        self.broken = True
        self._run.complain(checker, text)


def _watched(run: SpreadRun, context: Context) -> Iterator[_Watched]:
    partitions = context.keyspace.partitions()
    servers = {partition: run.masters.node_of(partition) for partition in partitions}

    def home(thing: Homed) -> tuple[Node, bytes]:
        at = context.keyspace.partition(thing.entity.group, thing.value)
        return run.masters.node_of(at), at.homes(thing.entity.name, thing.unique).encode()

    for name, keys in _NAMES.items():
        entity = run.package.entities[name]
        for key in keys:
            thing = Homed(entity, "", key)
            places = [(servers[each], each.document(name, key).encode()) for each in partitions]
            yield _Watched(thing, places, None if is_located(entity) else home(thing))
        for unique in entity.uniques:
            assert has_homes(entity, unique)
            for code in CODES:
                thing = Homed(entity, unique, code)
                places = [(servers[each], each.claims(name, unique).encode()) for each in partitions]
                yield _Watched(thing, places, home(thing))


def _is_there(thing: Homed, node: Node, key: bytes) -> bool:
    database = node.database
    value = database.values.get(key)
    if value is None:
        return False
    if isinstance(value, dict):
        return thing.value.encode() in value
    ends = database.deadlines.get(key)
    return ends is None or ends * 1000 > node.database.now


def _home_of(each: _Watched) -> int | None:
    if each.home is None:
        return None
    node, key = each.home
    homes = node.database.values.get(key)
    stored = homes.get(each.thing.value.encode()) if isinstance(homes, dict) else None
    return read_home(stored).place % len(each.places) if stored is not None else None


def judge(run: SpreadRun) -> int:
    """Judge a run; violations are reported to it. Returns how many histories were too long to decide."""
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
