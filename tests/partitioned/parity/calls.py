"""Random calls. Each is drawn once and made on every side: a function of a side and one of its stores."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from keyweave.query import at_least, at_most, between, contains, is_not, one_of, starts_with
from tests.partitioned.parity.package import twin
from tests.partitioned.parity.sides import PlannedError, Side

Call = Callable[[Side, Any], Any]
"""What is made on a side, with one of its stores, or with a transaction of it."""

ACCOUNTS = [f"a{number}" for number in range(10)]
KEYS = [f"d{number}" for number in range(40)]
CODES = [f"c{number}" for number in range(20)]
TITLES = ["", "x", "Éva", "a\x01", "a\uffff", "a\U0001f600", "zebra", "b:c%"]
TAGS = ["new", "sale", "x:y"]
SHELVES = [-70, -1, 0, 3, 2**40]


class Draw:
    """Draws calls. It knows in which account each deal is, because a deal does not change its account.

    Args:
        chance: draws.
        account_of: returns the account of a deal that exists, or None.
    """

    def __init__(self, chance: random.Random, account_of: Callable[[str], str | None]) -> None:
        self.chance = chance
        self.account_of = account_of
        self.numbers = 0

    # -- rows

    def fields(self, key: str, account: str | None = None) -> dict[str, Any]:
        """The values of a random deal: its account is the one that it has, if it exists."""
        chance = self.chance
        account = self.account_of(key) or account or chance.choice(ACCOUNTS)
        parent = None
        if chance.random() < 0.3:
            below = [each for each in KEYS if each < key and self.account_of(each) == account]
            parent = chance.choice(below) if below else chance.choice([None, None, "nothing"])
        return {
            "id": key,
            "account_id": account,
            "parent_id": parent,
            "code": chance.choice(CODES) if chance.random() < 0.3 else None,
            "place": chance.choice([None, None, 1, 2, 3]),
            "state": chance.choice(list(twin().State)),
            "worth": chance.randrange(-1, 12),
            "title": chance.choice(TITLES),
            "tags": chance.sample(TAGS, chance.randrange(3)),
        }

    def value_for(self, key: str) -> dict[str, Any]:
        """An account beside the key of a deal: none, its own, or maybe another one."""
        own = self.account_of(key)
        kind = self.chance.random()
        if kind < 0.5:
            return {}
        return {"account_id": own if own is not None and kind < 0.9 else self.chance.choice(ACCOUNTS)}

    # -- writes of one row

    def write(self) -> Call:
        """A random write of one row."""
        return self.chance.choice(
            [
                self.account,
                *[self.create] * 6,
                *[self.upsert] * 4,
                self.save,
                self.update,
                self.change,
                self.increment,
                self.merge,
                self.delete,
                self.others,
                self.others,
            ]
        )()

    def account(self) -> Call:
        chance, key = self.chance, self.chance.choice(ACCOUNTS)
        email = f"{chance.choice('abcdefghijklmnopq')}{chance.choice(['', 'X'])}@x"
        fields = {"id": key, "email": email, "balance": Decimal(chance.randrange(-5, 50)) / 4}
        kind = chance.choice(["create", "create", "upsert", "update", "delete", "discard"])
        if kind == "update":
            return lambda _, place: place.accounts.update(
                key, **{name: fields[name] for name in ("email", "balance")}
            )
        if kind in ("delete", "discard") and chance.random() < 0.3:
            return lambda _, place: getattr(place.accounts, kind)(key)
        kind = "upsert" if kind == "upsert" else "create"
        return lambda _, place: getattr(place.accounts, kind)(twin().Account(**fields))

    def create(self) -> Call:
        chance, key = self.chance, self.chance.choice(KEYS)
        fields = self.fields(key)
        if chance.random() < 0.2:
            fields["account_id"] = chance.choice(ACCOUNTS)  # maybe in another partition
            fields["parent_id"] = None
        options = (
            {"if_none": chance.choice(["by_account", "by_account_state"])} if chance.random() < 0.1 else {}
        )
        return lambda _, place: place.deals.create(twin().Deal(**fields), **options)

    def upsert(self) -> Call:
        fields = self.fields(self.chance.choice(KEYS))
        return lambda _, place: place.deals.upsert(twin().Deal(**fields))

    def save(self) -> Call:
        """Save a record that was read now, or earlier."""
        key, early = self.chance.choice(KEYS), self.chance.random() < 0.3
        fields = self.fields(key)

        def call(side: Side, place: Any) -> Any:
            record = side.loaded.get(key) if early else None
            if record is None or record.account_id != fields["account_id"]:
                record = side.loaded[key] = place.deals.get(key)
            for name, value in fields.items():
                setattr(record, name, value)
            return place.deals.save(record)

        return call

    def update(self) -> Call:
        key = self.chance.choice(KEYS)
        drawn = self.fields(key)
        names = self.chance.sample(["parent_id", "code", "place", "state", "worth", "title", "tags"], 2)
        fields = {name: drawn[name] for name in names}
        return lambda _, place: place.deals.update(key, **self.some(fields))

    @staticmethod
    def some(fields: dict[str, Any]) -> dict[str, Any]:
        """Values of their own for each side."""
        return {name: list(value) if isinstance(value, list) else value for name, value in fields.items()}

    def change(self) -> Call:
        key = self.chance.choice(KEYS)
        value, raises, worth = self.value_for(key), self.chance.random() < 0.3, self.chance.randrange(-1, 9)

        def changed(record: Any) -> None:
            record.worth = worth
            if raises:
                raise PlannedError(str(worth))

        return lambda _, place: place.deals.change(key, changed, **value)

    def increment(self) -> Call:
        key, by = self.chance.choice(KEYS), self.chance.randrange(-4, 6)
        field, value = self.chance.choice(["worth", "worth", "worth", "title"]), self.value_for(key)
        return lambda _, place: place.deals.increment(key, field, by, **value)

    def merge(self) -> Call:
        key, number = self.chance.choice(KEYS), self.chance.randrange(-1, 5)
        value, name = self.value_for(key), self.chance.choice("pq")
        return lambda _, place: place.deals.merge_uses(key, [twin().Use(name=name, count=number)], **value)

    def delete(self) -> Call:
        key, kind = self.chance.choice(KEYS), self.chance.choice(["delete", "discard"])
        value = self.value_for(key)
        return lambda _, place: getattr(place.deals, kind)(key, **value)

    def others(self) -> Call:
        """A write of a line, a note or a slot."""
        return self.chance.choice([self.line, self.note, self.slot])()

    def line(self) -> Call:
        chance = self.chance
        account, number, text = chance.choice(ACCOUNTS), chance.randrange(5), chance.choice(TITLES)
        kind = chance.choice(["create", "upsert", "delete", "update"])
        if kind == "delete":
            return lambda _, place: place.lines.delete(account, number)
        if kind == "update":
            return lambda _, place: place.lines.update(account, number, text=text)
        line = {"account_id": account, "number": number, "text": text}
        return lambda _, place: getattr(place.lines, kind)(twin().Line(**line))

    def note(self) -> Call:
        """A row whose id is generated, so that each side has another one."""
        chance = self.chance
        number = self.numbers
        if number and chance.random() < 0.4:
            number = chance.randrange(number)
            gone = chance.random() < 0.5

            def call(side: Side, place: Any) -> Any:
                key = side.notes.get(number, "nothing")
                return place.notes.discard(key) if gone else place.notes.find(key)

            return call
        self.numbers += 1
        account = chance.choice(ACCOUNTS)

        def created(side: Side, place: Any) -> Any:
            note = place.notes.create(twin().Note(account_id=account, number=number))
            side.notes[number] = note.id
            return note

        return created

    def slot(self) -> Call:
        chance = self.chance
        slot = {
            "id": f"s{chance.randrange(12)}",
            "shelf": chance.choice(SHELVES),
            "name": chance.choice(["only", "x", "y"]),
        }
        kind = chance.choice(["create", "create", "discard", "get_by_name", "find_by_only"])
        if kind == "discard":
            return lambda _, place: place.slots.discard(slot["id"])
        if kind == "get_by_name":
            return lambda _, place: place.slots.get_by_name(slot["name"], slot["shelf"])
        if kind == "find_by_only":
            return lambda _, place: place.slots.find_by_only(slot["name"])
        return lambda _, place: place.slots.create(twin().Slot(**slot))

    # -- several rows, and transactions

    def many(self) -> Call:
        """A bulk write of one account, whose rows are written in their order; or of several, see `_settled`."""
        chance = self.chance
        kind = chance.choice(["create_many", "upsert_many", "save_many", "delete_many"])
        account = chance.choice(ACCOUNTS) if chance.random() < 0.5 else None
        keys = [key for key in KEYS if account is None or self.account_of(key) in (None, account)]
        keys = chance.sample(keys, min(len(keys), chance.randrange(1, 7)))
        if kind == "delete_many":
            return lambda _, place: place.deals.delete_many(keys)
        fields = [self.fields(key, account) for key in keys]
        if account is None:
            # Of several accounts the value that a later row gives up may go to an earlier one: docs/limits.md.
            for each in fields:
                each["code"] = None
        # An upsert of a row that another store has changed is tried again behind the rows that follow it.
        return _in_bulk(kind, keys, fields, settle=account is None or kind == "upsert_many")

    def transaction(self) -> Call:
        """Some writes and reads of one account, and maybe an exception at the end."""
        chance = self.chance
        account = chance.choice(ACCOUNTS)
        keys = [key for key in KEYS if self.account_of(key) in (None, account)]
        steps: list[Call] = []
        for key in chance.sample(keys, min(len(keys), chance.randrange(1, 4))):
            steps.append(self._step(key, account))
        raises = chance.random() < 0.2

        def call(side: Side, store: Any) -> Any:
            def work(transaction: Any) -> list[Any]:
                found = [step(side, transaction) for step in steps]
                if raises:
                    raise PlannedError
                return found

            return store.transact(work)

        return call

    def _step(self, key: str, account: str) -> Call:
        chance, value = self.chance, {"account_id": account}
        fields, worth = self.fields(key, account), self.chance.randrange(9)
        kind = chance.choice(["create", "upsert", "change", "locked", "discard", "page", "get", "require"])
        if kind in ("create", "upsert"):
            return lambda _, place: getattr(place.deals, kind)(twin().Deal(**fields))
        if kind == "change":
            return lambda _, place: place.deals.increment(key, "worth", worth, **value)
        if kind == "discard":
            return lambda _, place: place.deals.discard(key, **value)
        if kind == "page":
            return lambda _, place: place.deals.by_account(account).list()
        if kind == "get":
            return lambda _, place: place.deals.find(key, **value)
        if kind == "require":
            return lambda _, place: place.deals.require(key, **value)

        def locked(_: Side, place: Any) -> Any:
            row = place.deals.get_for_update(key, **value)
            row.title = fields["title"]
            return place.deals.save(row)

        return locked

    # -- reads

    def read(self) -> Call:
        """A random read."""
        return self.chance.choice(
            [self.by_key, self.by_key, self.answer, self.answer, self.answer, self.groups]
        )()

    def by_key(self) -> Call:
        chance, key = self.chance, self.chance.choice(KEYS)
        value = self.value_for(key)
        kind = chance.choice(
            ["get", "find", "exists", "tree", "get_with_deals", "get_many", "code", "place", "email", "with"]
        )
        if kind == "get_many":
            keys = chance.sample(KEYS, 5)
            return lambda _, place: place.deals.get_many(keys, **value)
        if kind == "code":
            code = chance.choice(CODES)
            return lambda _, place: place.deals.find_by_code(code)
        if kind == "place":
            account, number = chance.choice(ACCOUNTS), chance.randrange(4)
            return lambda _, place: place.deals.get_by_place(account, number)
        if kind == "email":
            email = f"{chance.choice('abcdefghijklmnopq')}@X"
            return lambda _, place: place.accounts.find_by_email(email)
        if kind == "with":
            account = chance.choice(ACCOUNTS)
            return lambda _, place: place.accounts.get_with_deals(account)
        return lambda _, place: getattr(place.deals, kind)(key, **value)

    def groups(self) -> Call:
        account = self.chance.choice(ACCOUNTS)
        if self.chance.random() < 0.5:
            return lambda _, place: list(place.deals.by_state_age().group_counts().items())
        return lambda _, place: list(place.deals.by_account_state(account).group_counts().items())

    def answer(self) -> Call:
        """A query, and one of the ways to ask for its rows."""
        chance, rows = self.chance, self.rows()
        kind = chance.choice(
            ["list", "list", "first", "one", "count", "exists", "keys", "sum", "min", "max", "pairs"]
        )
        if kind == "sum":
            return lambda _, place: rows(place).sum("worth")
        if kind == "pairs":
            return lambda _, place: place.deals.with_deals(rows(place)).page(7)
        return lambda _, place: getattr(rows(place), kind)()

    def rows(self) -> Callable[[Any], Any]:
        """A random handle of deals, accounts or others, as a function of a store."""
        chance = self.chance
        account, state, worth = (
            chance.choice(ACCOUNTS),
            chance.choice(list(twin().State)),
            chance.randrange(9),
        )
        views: list[Callable[[Any], Any]] = [
            lambda place: place.deals.all(),
            lambda place: place.deals.all(),
            lambda place: place.deals.by_change(),
            lambda place: place.deals.by_account(account),
            lambda place: place.deals.by_parent(KEYS[worth]),
            lambda place: place.deals.by_state(state),
            lambda place: place.deals.by_state_age(state),
            lambda place: place.deals.by_account_state(account, state),
            lambda place: place.deals.by_worth(),
            lambda place: place.deals.by_title(),
            lambda place: place.deals.by_tag(TAGS[worth % 3]),
            lambda place: place.deals.held(),
            lambda place: place.deals.by_state_age(state) | place.deals.by_tag("new"),
        ]
        made = chance.choice(views) if chance.random() < 0.6 else self._filtered()
        turned, kept, having = chance.random() < 0.4, chance.random() < 0.15, chance.random() < 0.1

        def rows(place: Any) -> Any:
            found = made(place)
            if turned:
                found = found.reverse()
            if kept:
                found = found.order_by("worth").between(worth, worth + 3)
            if having:
                found = found.scan().having(place.deals.by_state_age(state))
            return found

        return rows

    def _filtered(self) -> Callable[[Any], Any]:
        chance, filters = self.chance, {}
        drawn: dict[str, Callable[[], Any]] = {
            "account_id": lambda: chance.choice(
                [chance.choice(ACCOUNTS), one_of(*chance.sample(ACCOUNTS, 3)), one_of()]
            ),
            "state": lambda: chance.choice(
                [*twin().State, one_of(*list(twin().State)[:2]), is_not(twin().State.HELD)]
            ),
            "worth": lambda: chance.choice([3, between(2, 6), at_least(4), at_most(5), one_of(1, 2, 3)]),
            "title": lambda: chance.choice([*TITLES, starts_with("a")]),
            "tags": lambda: contains(chance.choice(TAGS)),
            "code": lambda: chance.choice([None, "c1", one_of("c2", "c3")]),
            "parent_id": lambda: chance.choice([None, "d1", is_not(None)]),
            "id": lambda: chance.choice(["d3", one_of("d1", "d2", "d30")]),
        }
        for name in chance.sample(sorted(drawn), chance.randrange(4)):
            filters[name] = drawn[name]()
        order = chance.choice(["created", "created", "revision", "worth", "title"])
        return lambda place: place.deals.where(**filters).scan().order_by(order)


def _in_bulk(kind: str, keys: list[str], fields: list[dict[str, Any]], *, settle: bool) -> Call:
    """A bulk write. Rows of several accounts are written at the same time, so their moments are put in one order afterwards."""

    def call(side: Side, store: Any) -> Any:
        if kind == "save_many":
            records = [row for row in store.deals.get_many(keys) if row is not None]
            for record in records:
                given = next(each for each in fields if each["id"] == record.id)
                for name, value in given.items():
                    setattr(record, name, value)
        else:
            records = [twin().Deal(**each) for each in fields]
        before = {row.id for row in store.deals.get_many(keys) if row is not None}
        results = getattr(store.deals, kind)(records)
        return [results, _settled(store, keys, before) if settle else None]

    return call


def _settled(store: Any, keys: list[str], before: set[str]) -> list[Any]:
    """Delete the rows that a bulk write has created, and write those that it has changed again, one after another."""
    after = [row for row in store.deals.get_many(keys) if row is not None]
    for row in after:
        if row.id in before:
            store.deals.increment(row.id, "worth", 0)
            row.title += "!"
            store.deals.update(row.id, title=row.title[:20])
        else:
            store.deals.discard(row.id)
    return after
