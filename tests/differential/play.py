"""Plays random steps on a store and on the model, and compares everything that the store can return."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from random import Random
from typing import Any

from keyweave.model.record import Record
from tests.differential.model import Id, Model, Refused, Row
from tests.differential.schemas import KEYS, POOLS, Kind
from tests.harness import Harness


class Play:
    """One namespace of one schema.

    Args:
        stores: the store under test.
        admin: stores of the same namespace that may do everything.
    """

    def __init__(
        self, random: Random, package: Any, kinds: list[Kind], stores: Harness, admin: Harness
    ) -> None:
        self.random, self.package, self.stores, self.admin = random, package, stores, admin
        self.model = Model(kinds)
        self.kinds = kinds
        self.steps: list[str] = []

    def run(self, steps: int) -> None:
        """Play, and compare now and then and at the end."""
        for number in range(steps):
            self.random.choices(
                (self.create, self.upsert, self.change, self.end, self.delete, self.transact, self.sweep),
                (8, 6, 5, 3, 2, 3, 1),
            )[0]()
            if number % 10 == 9:
                self.compare()
        self.compare()
        self.sweep()
        self.compare()
        self.check_keys()

    # Steps

    def create(self) -> None:
        """Insert a row."""
        kind, row = self.random_row()
        if kind is not None:
            self.both(
                f"create {kind.name} {row}",
                lambda: self.repository(kind).create(self.record(kind, row)),
                lambda model: model.put(kind.name, row, insert=True),
            )

    def upsert(self) -> None:
        """Insert or replace a row."""
        kind, row = self.random_row()
        if kind is not None:
            self.put(kind, row)

    def change(self) -> None:
        """Change one field of a row."""
        rows = sorted(self.model.rows.keys() - self.model.in_limbo)
        if not rows:
            return
        name, key = self.random.choice(rows)
        kind = self.model.kinds[name]
        field = self.random.choice(list(kind.optional))
        row = {**self.model.rows[name, key], field: self.random_value(kind, field)}
        if not self.touches_limbo(kind, row):
            self.both(
                f"change {name} {key} {field}={row[field]!r}",
                lambda: self.repository(kind).change(
                    *kind.identity(key), lambda record: setattr(record, field, kind.given(row)[field])
                ),
                lambda model: model.put(name, row, insert=False),
            )

    def end(self) -> None:
        """Change a row so that it ends, if possible one that others refer to."""
        rows = [
            each for each in self.model.rows.keys() - self.model.in_limbo if self.model.kinds[each[0]].ends
        ]
        rows.sort(key=lambda each: (-len(self.model.family(each)), each))
        for name, key in rows[:1]:
            kind = self.model.kinds[name]
            assert kind.ends is not None
            for value in POOLS[kind.ends.name]:
                row = {**self.model.rows[name, key], kind.ends.name: value}
                if kind.ends.holds(row) and not self.touches_limbo(kind, row):
                    self.put(kind, row)
                    return

    def put(self, kind: Kind, row: Row) -> None:
        self.both(
            f"upsert {kind.name} {row}",
            lambda: self.repository(kind).upsert(self.record(kind, row)),
            lambda model: model.put(kind.name, row, insert=False),
        )

    def delete(self) -> None:
        """Delete a row."""
        kind, key = self.random.choice(self.kinds), self.random.choice(KEYS)
        if self.model.rows and self.random.random() < 0.8:
            name, key = self.random.choice(sorted(self.model.rows))
            kind = self.model.kinds[name]
        if (kind.name, key) not in self.model.in_limbo:
            self.both(
                f"delete {kind.name} {key}",
                lambda: self.repository(kind).delete(*kind.identity(key)),
                lambda model: model.delete((kind.name, key)),
            )

    def transact(self) -> None:
        """Insert, delete and require several rows in one step; no row of it ends."""
        plan: list[tuple[Kind, str, Row | str]] = []
        met: set[Id] = set()
        for _ in range(self.random.randint(1, 5)):
            if self.random.random() < 0.25:
                required, key = self.random.choice(self.kinds), self.random.choice(KEYS)
                if (required.name, key) not in self.model.in_limbo:
                    plan.append((required, key, "require"))
                continue
            kind, row = self.random_row()
            if kind is None or (kind.name, row["id"]) in met or (kind.ends and kind.ends.holds(row)):
                continue
            met.add((kind.name, row["id"]))
            plan.append((kind, row["id"], row if self.random.random() < 0.7 else "delete"))

        def steps(tx: Any) -> Any:
            for kind, key, row in plan:
                repository = getattr(tx, kind.repository)
                if isinstance(row, str):
                    yield getattr(repository, row)(*kind.identity(key))
                else:
                    yield repository.create(self.record(kind, row))

        def apply(model: Model) -> None:
            for kind, key, row in plan:
                if row == "require":
                    model.require((kind.name, key))
                elif isinstance(row, str):
                    model.delete((kind.name, key))
                else:
                    model.put(kind.name, row, insert=True)

        if plan:
            self.both(
                f"transact {[(kind.name, key, row) for kind, key, row in plan]}",
                lambda: self.stores.db.transact(self.stores.closure(steps)),
                apply,
            )

    def sweep(self) -> None:
        """Remove every ended row."""
        self.steps.append("sweep")
        self.admin.do(self.admin.db.sweep())
        self.model.sweep()

    def both(self, step: str, call: Callable[[], Any], apply: Callable[[Model], None]) -> None:
        """Do a step in both places; errors must agree."""
        self.steps.append(step)
        after, expected = self.model.copy(), "ok"
        try:
            apply(after)
        except Refused as error:
            expected = str(error)
        try:
            self.stores.do(call())
            answer = "ok"
        except Exception as error:  # noqa: BLE001 - compared by name
            answer = next(
                (each.__name__ for each in type(error).__mro__ if each.__name__ == expected), repr(error)
            )
        assert answer == expected
        if expected == "ok":
            self.model = after

    # Random values

    def random_row(self) -> tuple[Kind, Row] | tuple[None, Row]:
        kind = self.random.choice(self.kinds)
        row: Row = {"id": self.random.choice(KEYS)}
        for _ in range(4):
            row |= {name: self.random_value(kind, name) for name in kind.optional}
            # Most rows should stay for a while.
            if (kind.ends is None or not kind.ends.holds(row)) and (
                kind.rule is None or kind.rule.holds(row)
            ):
                break
        if (kind.name, row["id"]) in self.model.in_limbo or self.touches_limbo(kind, row):
            return None, row
        return kind, row

    def random_value(self, kind: Kind, name: str) -> Any:
        if kind.optional[name] and self.random.random() < 0.3:
            return None
        target = kind.references.get(name)
        if target is None:
            return self.random.choice(POOLS[name])
        known = [key for entity, key in sorted(self.model.rows) if entity == target]
        return self.random.choice(known or KEYS) if self.random.random() < 0.95 else self.random.choice(KEYS)

    def touches_limbo(self, kind: Kind, row: Row) -> bool:
        """Whether the outcome of a write depends on rows that may be gone or not, or on a row's own key."""
        hidden = self.model.in_limbo
        claim = kind.claim(row)
        return (
            any(target == kind.name and row[name] == row["id"] for name, target in kind.references.items())
            or any((target, row[name]) in hidden for name, target in kind.references.items())
            or any(
                claim is not None and other[0] == kind.name and kind.claim(self.model.rows[other]) == claim
                for other in hidden
            )
        )

    # Comparisons

    def compare(self) -> None:
        """Compare documents, views, counts, unique values and searches, and check the indexes."""
        for kind in self.kinds:
            self.compare_rows(kind)
            for name, (fields, order, direction) in kind.views.items():
                self.compare_view(kind, name, fields, order, direction)
            if kind.unique:
                self.compare_claims(kind)
            for _ in range(4):
                self.compare_search(kind)
        report = self.admin.do(self.admin.db.check())
        assert report.clean, report.drift

    def compare_rows(self, kind: Kind) -> None:
        keys = [key if len(key) > 1 else key[0] for key in map(kind.identity, KEYS)]
        found = self.stores.do(self.repository(kind).get_many(keys))
        held = {key: record for key, record in zip(KEYS, found, strict=True) if record is not None}
        hidden = self.model.in_limbo
        shown = {
            key: {name: getattr(record, name) for name in record.__struct_fields__}
            for key, record in held.items()
            if (kind.name, key) not in hidden
        }
        assert shown == {
            key: kind.given(row)
            for (name, key), row in self.model.rows.items()
            if name == kind.name and (name, key) not in hidden
        }

    def compare_view(
        self, kind: Kind, name: str, fields: tuple[str, ...], order: str, direction: str
    ) -> None:
        repository = self.repository(kind)
        for values in product(*[self.pool(kind, field) for field in fields]):
            expected = self.model.listed(kind.name, fields, order, values)
            newest = self.random.random() < 0.7
            given = [kind.outside(field, value) for field, value in zip(fields, values, strict=True)]
            rows = getattr(repository, name)(*given)
            highest = direction == "desc" or (not direction and order != "text")
            found = self.stores.do((rows if newest == highest else rows.reverse()).list())
            keys = [
                key for key in map(self.name_of(kind), found) if (kind.name, key) not in self.model.in_limbo
            ]
            assert keys == (expected if newest else expected[::-1]), f"{kind.name}.{name} {values}"
            if not self.model.in_limbo:
                assert self.stores.do(getattr(repository, name)(*given).count()) == len(expected)
                identities = [
                    key if isinstance(key, tuple) else (key,) for key in self.stores.do(rows.keys())
                ]
                ordered = expected if highest else expected[::-1]
                assert identities == [kind.identity(key) for key in ordered]

    def compare_claims(self, kind: Kind) -> None:
        hidden = self.model.in_limbo
        owners = {
            kind.claim(row): key
            for (name, key), row in self.model.rows.items()
            if name == kind.name and (name, key) not in hidden
        }
        for values in product(*[POOLS[field] for field in kind.unique]):
            row = dict(zip(kind.unique, values, strict=True))
            found = self.stores.do(self.repository(kind).find_by_one(*values))
            owner = self.name_of(kind)(found) if found is not None else None
            if owner is None or (kind.name, owner) not in hidden:
                assert owner == owners.get(kind.claim(row)), values

    def compare_search(self, kind: Kind) -> None:
        names = self.random.sample(list(kind.optional), self.random.randint(0, 3))
        filters = {
            name: (
                None
                if kind.optional[name] and self.random.random() < 0.3
                else self.random.choice(self.pool(kind, name))
            )
            for name in names
        }
        values = tuple(filters.values())
        expected = self.model.listed(kind.name, tuple(filters), "created", values)
        given = {name: kind.outside(name, value) for name, value in filters.items()}
        found = self.stores.do(self.repository(kind).where(**given).order_by("created").scan().list())
        keys = [key for key in map(self.name_of(kind), found) if (kind.name, key) not in self.model.in_limbo]
        assert keys == expected, f"{kind.name} {filters}"

    def check_keys(self) -> None:
        """After a sweep, every document of the namespace is a row of the model."""
        tag = self.admin.db.session.context.keyspace.partition("all").tag
        documents = {
            tuple(name.removeprefix(tag).split(":", 1))
            for name in self.admin.contents()
            if "." not in name.removeprefix(tag).split(":", 1)[0] and "@" not in name.removeprefix(tag)[:1]
        }
        entities = self.package.PACKAGE.entities
        expected = set()
        for name, key in self.model.rows:
            identity = self.model.kinds[name].identity(key)
            expected.add((name, entities[name].stored_key(identity if len(identity) > 1 else identity[0])))
        assert documents == expected

    @staticmethod
    def name_of(kind: Kind) -> Callable[[Any], str]:
        """A function that returns how the model calls a row."""
        names = {kind.identity(name)[-1]: name for name in KEYS}
        return lambda row: names[row.id]

    def repository(self, kind: Kind) -> Any:
        return getattr(self.stores.db, kind.repository)

    def record(self, kind: Kind, row: Row) -> Record:
        made: Record = getattr(self.package, kind.name)(**kind.given(row))
        return made

    @staticmethod
    def pool(kind: Kind, name: str) -> tuple[Any, ...]:
        return KEYS if name in kind.references else POOLS[name]
