"""A generated store for a story: one blocking interface over both flavours, which records the called methods.

`create` and `visit` use everything that is generated for a row; `finish` fails when a method was never used.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from datetime import date, time
from decimal import Decimal
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from fakeredis import FakeServer

from keyweave.aio import rows as aio_rows
from keyweave.aio import session as session_aio
from keyweave.document.value import field_types
from keyweave.errors import AlreadyExistsError, ValidationError
from keyweave.health.connect import connect
from keyweave.model.entity import Entity, Referrer
from keyweave.model.page import Page
from keyweave.opening.prepare import prepare
from keyweave.sync import rows as sync_rows
from keyweave.sync import session as session_sync
from tests.fakes import fake_async_shell, fake_sync_shell
from tests.over import opened_store
from tests.servers.running import new_namespace, server_url

_SEARCHABLE = (str, int, bool, Decimal, date, time, UUID)
_ABSENT = {"str": "nobody", "int": -1, "UUID": UUID(int=0)}
"""A key that no row has, by the kind of keys, or of a part of the key."""
_HANDLES = (sync_rows.Rows, sync_rows.Pairs, sync_rows.Groups, aio_rows.Rows, aio_rows.Pairs, aio_rows.Groups)


class Repository:
    """A generated repository, whose methods wait for their results."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._stage = stage
        self.name = name
        self.plain = getattr(stage.store, name)

    def __getattr__(self, method: str) -> Any:
        call = getattr(self.plain, method)
        self._stage.used.add(f"{self.name}.{method}")
        return self._stage.waiting(call)


class Waiting:
    """A handle of rows, whose methods wait for their results."""

    def __init__(self, stage: Stage, plain: Any) -> None:
        self._stage = stage
        self.plain = plain

    def __getattr__(self, method: str) -> Any:
        return self._stage.waiting(getattr(self.plain, method))

    def __iter__(self) -> Iterator[Any]:
        return iter(
            self._stage.wait_for(aiter(self.plain) if hasattr(self.plain, "__aiter__") else iter(self.plain))
        )

    def __or__(self, other: Waiting) -> Waiting:
        return Waiting(self._stage, self.plain | other.plain)

    def __eq__(self, other: object) -> bool:
        return list(self) == other

    __hash__ = None  # type: ignore[assignment]


class Stage:
    """One namespace of a server, with the repositories of a case as attributes."""

    def __init__(self, package: ModuleType, flavour: str, server: str, **options: Any) -> None:
        self.package = package
        self.used: set[str] = set()
        self._runner = asyncio.Runner()
        where = {"namespace": new_namespace("accepted"), **options}
        opened = self._on_a_fake if server == "fake" else self._on_a_server
        try:
            self.store: Any = opened(getattr(package, flavour), flavour, where)
        except BaseException:
            self._runner.close()
            raise

    def _on_a_server(self, module: Any, flavour: str, where: dict[str, Any]) -> Any:
        return self.wait_for(opened_store(module, flavour, server_url(), **where))

    def _on_a_fake(self, module: Any, flavour: str, where: dict[str, Any]) -> Any:
        _, context = prepare(self.package.PACKAGE, "redis://fake", **where)
        if flavour == "sync":
            blocking = fake_sync_shell(FakeServer())
            blocking.run(connect(context))
            return module.Store(session_sync.Session(blocking, context))
        waiting = self._runner.run(_made(fake_async_shell, FakeServer()))
        self._runner.run(waiting.run(connect(context)))
        return module.Store(session_aio.Session(waiting, context))

    def __getattr__(self, name: str) -> Repository:
        return Repository(self, name)

    def wait_for(self, outcome: Any) -> Any:
        """The result of a call of either flavour; of an iterator, a list."""
        if inspect.isawaitable(outcome):
            return self._runner.run(_awaited(outcome))
        if isinstance(outcome, AsyncIterator):
            return self._runner.run(_collected(outcome))
        return list(outcome) if isinstance(outcome, Iterator) else outcome

    def waiting(self, call: Any) -> Any:
        """A method of a repository or handle that waits for its result; it takes and returns waiting handles."""

        def called(*arguments: Any, **options: Any) -> Any:
            plain = [each.plain if isinstance(each, Waiting) else each for each in arguments]
            result = self.wait_for(call(*plain, **options))
            return Waiting(self, result) if isinstance(result, _HANDLES) else result

        return called

    def close(self) -> None:
        self.wait_for(self.store.close())
        self._runner.close()

    def check(self) -> Any:
        """The report on the whole namespace."""
        return self.wait_for(self.store.check())

    def create(self, *records: Any) -> None:
        """Create rows that have a value in every field, and find each by its key in every way there is."""
        for record in records:
            repository = self.repository_of(record)
            assert repository.create(record) is record
            assert [name for name in record.__struct_fields__ if getattr(record, name) is None] == []
            key, given = self.key_of(record), self.arguments_of(record)
            assert repository.get(*given) == record
            assert repository.find(*given) == record
            assert repository.exists(*given) is True
            (refused,) = repository.create_many([record])
            assert isinstance(refused, AlreadyExistsError)
            absent = _absent_like(key)
            assert repository.get_many([absent, key]) == [None, record]
            locked = self.wait_for(
                self.store.transact(lambda tx, r=repository, k=given: getattr(tx, r.name).get_for_update(*k))
            )
            self.used.add(f"{repository.name}.get_for_update")
            assert locked == record
            self._require(repository, given)
            with pytest.raises(self.entity_of(record).not_found):
                self._require(repository, absent if isinstance(absent, tuple) else (absent,))

    def _require(self, repository: Repository, key: tuple[Any, ...]) -> None:
        self.wait_for(self.store.transact(lambda tx: getattr(tx, repository.name).require(*key)))
        self.used.add(f"{repository.name}.require")

    def visit(self, record: Any) -> None:
        """Find a stored row through every view, unique value and filter that it has a value for."""
        repository, entity = self.repository_of(record), self.entity_of(record)
        for view in entity.views.values():
            values = [getattr(record, name) for name in view.fields]
            entries = [each for each in entity.entries(record) if getattr(each, "view", "") == view.name]
            method = self._view(repository, view.name)
            if view.each:
                assert len(entries) in (0, len(set(getattr(record, view.each) or ())))
                for element in getattr(record, view.each) if entries else ():
                    self._visit_view(method, [*values, element], record)
                if view.groups and entries:
                    for group, number in method(*values).group_counts().items():
                        assert number == method(*values, group).count() > 0
                continue
            if None not in values and (entries or not view.where):
                self._visit_view(method, values, record)
            if None not in values[:-1] and view.groups and not view.where:
                groups = method(*values[:-1]).group_counts()
                for group, number in groups.items():
                    assert number == method(*values[:-1], group).count() > 0
                assert values[-1] is None or values[-1] in groups
        for unique in entity.uniques.values():
            values = [getattr(record, name) for name in unique.fields]
            if None not in values:
                assert getattr(repository, f"get_by_{unique.name}")(*values) == record
                assert getattr(repository, f"find_by_{unique.name}")(*values) == record
        self._search(repository, entity, record)
        for referrer in self.package.PACKAGE.referrers[entity.name]:
            self._visit_family(repository, referrer, record)

    @staticmethod
    def _view(repository: Repository, view: str) -> Any:
        """The method of a view, whose name steps aside for other methods."""
        plain = type(repository.plain)
        return getattr(repository, f"{view}_" if hasattr(plain, f"{view}_") else view)

    def _visit_family(self, repository: Repository, referrer: Referrer, record: Any) -> None:
        """Read a row with those that refer to it by one reference, and by another one of the same entity, if there is."""
        theirs = self._repository(referrer.entity.name)
        listed = self._view(theirs, referrer.reference.via)
        method = f"with_{theirs.name.removesuffix('_')}"
        if not hasattr(repository.plain, method):
            method += f"_by_{referrer.reference.field}"
        expected = listed(self.key_of(record)).page(limit=1000).rows
        assert getattr(repository, f"get_{method}")(self.key_of(record)) == (record, expected)
        together = getattr(repository, method)
        rows = repository.where(**self._filters(repository, record)).scan()
        assert together(rows).first() == (record, expected)
        assert (
            together(rows).list()
            == list(together(rows))
            == together(rows).page().rows
            == [(record, expected)]
        )
        whole = [view for view in self.entity_of(record).views.values() if view.whole]
        for view in whole:
            values = {name: getattr(record, name) for name in view.fields}
            if None not in values.values():
                leading = repository.where(**values).order_by(view.order).scan()
                row, family = together(leading).first()
                assert row == leading.first()
                assert family == listed(self.key_of(row)).page(limit=1000).rows

    def _visit_view(self, method: Any, values: list[Any], record: Any) -> None:
        page: Page[Any] = method(*values).page(limit=1000)
        assert record in page
        assert page.cursor is None
        oldest_first = [row for batch in method(*values).reverse().batches(size=1) for row in batch]
        assert oldest_first == list(reversed(page))
        assert method(*values).list() == list(method(*values)) == page.rows
        assert method(*values).reverse().list() == oldest_first
        assert method(*values).count() == len(page.rows)
        assert method(*values).exists()
        assert method(*values).keys() == [self.key_of(row) for row in page]
        assert method(*values).first() == page[0]

    def _filters(self, repository: Repository, record: Any) -> dict[str, Any]:
        """Every filter that a record has a value for."""
        filters = self.entity_of(record).filters
        return {
            name: getattr(record, name)
            for name, kind in filters.items()
            if not kind.startswith("list[") and getattr(record, name) is not None
        }

    def _search(self, repository: Repository, entity: Entity[Any], record: Any) -> None:
        filters = self._filters(repository, record)
        assert filters
        found = repository.where(**filters)
        assert found.page().rows == list(found) == found.list() == [record]
        assert found.first() == found.one() == record
        assert found.explain().access == "key"
        for name in entity.key_fields:
            del filters[name]
        whole = [view for view in entity.views.values() if view.whole]
        for order in dict.fromkeys(view.order for view in whole):
            covered = [
                view for view in whole if view.order == order and all(name in filters for name in view.fields)
            ]
            if covered:
                found = repository.where(**filters).order_by(order).scan()
                assert record in found.page(limit=1000)
                assert record in list(found)

    def write_again(self, record: Any) -> None:
        """Write a stored row in every way there is, and find what was written as `visit` does."""
        repository, key = self.repository_of(record), self.key_of(record)
        for written in (
            repository.save(record),
            repository.upsert(record),
            repository.change(*self.arguments_of(record), lambda row: None),
        ):
            assert self.key_of(written) == key
        assert [self.key_of(written) for written in repository.upsert_many([record])] == [key]
        assert [self.key_of(written) for written in repository.save_many([record])] == [key]
        stored = repository.get(*self.arguments_of(record))
        self._update(repository, self.entity_of(record), stored)
        self.visit(repository.get(*self.arguments_of(record)))

    def _update(self, repository: Repository, entity: Entity[Any], record: Any) -> None:
        """Set every field to the value that it has, and add nothing to every number."""
        key = self.arguments_of(record)
        own = (*entity.key_fields, *entity.managed)
        fields = [name for name in record.__struct_fields__ if name not in own]
        updated = repository.update(*key, **{name: getattr(record, name) for name in fields})
        assert [getattr(updated, name) == getattr(record, name) for name in fields] == [True] * len(fields)
        for name in fields:
            if field_types(entity)[name].number is None or getattr(record, name) is None:
                with pytest.raises(ValidationError):
                    repository.increment(*key, name, 0)
            else:
                assert getattr(repository.increment(*key, name, 0), name) == getattr(record, name)
        for name in entity.key_fields:
            with pytest.raises(ValidationError):
                repository.increment(*key, name)

    def remove(self, *records: Any) -> None:
        """Delete rows; the second time there is nothing to delete."""
        for record in records:
            repository, key = self.repository_of(record), self.arguments_of(record)
            repository.delete(*key)
            assert repository.discard(*key) is False
            assert repository.delete_many([self.key_of(record)]) == [False]
            assert repository.find(*key) is None

    def finish(self) -> None:
        """Fail when something that was generated was not used."""
        generated = {
            f"{name}.{method}"
            for name in self.repositories()
            for method in dir(getattr(self.store, name))
            if not method.startswith("_")
        }
        unused = sorted(generated - self.used)
        assert not unused, unused

    def repositories(self) -> list[str]:
        """The attributes of the store that are repositories."""
        return [name for name in type(self.store).__slots__ if not name.startswith("_")]

    def entity_of(self, record: Any) -> Entity[Any]:
        return self.package.PACKAGE.entities[type(record).__name__]

    def key_of(self, record: Any) -> Any:
        """The key of a row, as lists of keys contain it."""
        return self.entity_of(record).key_in(record)

    def arguments_of(self, record: Any) -> tuple[Any, ...]:
        """The key of a row, as it is given where one key is asked for."""
        return tuple(getattr(record, name) for name in self.entity_of(record).key_fields)

    def repository_of(self, record: Any) -> Repository:
        return self._repository(type(record).__name__)

    def _repository(self, entity: str) -> Repository:
        (name,) = (
            name
            for name in self.repositories()
            if type(getattr(self.store, name)).__name__ == f"{entity}Repository"
        )
        return Repository(self, name)


def _absent_like(key: Any) -> Any:
    if isinstance(key, tuple):
        return (*key[:-1], _absent_like(key[-1]))
    return next(absent for absent in _ABSENT.values() if isinstance(key, type(absent)))


async def _awaited(outcome: Any) -> Any:
    return await outcome


async def _collected(outcome: AsyncIterator[Any]) -> list[Any]:
    return [each async for each in outcome]


async def _made(make: Any, *arguments: Any) -> Any:
    return make(*arguments)
