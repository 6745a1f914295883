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

from fakeredis import FakeServer

from keyweave.aio import session as session_aio
from keyweave.health.connect import connect
from keyweave.model.entity import Entity, Referrer
from keyweave.model.page import Page
from keyweave.opening.prepare import prepare
from keyweave.sync import session as session_sync
from keyweave_generator.names import argument_name
from tests.fakes import fake_async_shell, fake_sync_shell
from tests.servers.running import new_namespace, server_url

_SEARCHABLE = (str, int, bool, Decimal, date, time, UUID)
_ABSENT = {"str": "nobody", "int": -1, "UUID": UUID(int=0)}
"""A key that no row has, by the kind of keys."""


class Repository:
    """A generated repository, whose methods wait for their results."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._stage = stage
        self.name = name
        self.plain = getattr(stage.store, name)

    def __getattr__(self, method: str) -> Any:
        call = getattr(self.plain, method)
        self._stage.used.add(f"{self.name}.{method}")
        return lambda *arguments, **options: self._stage.wait_for(call(*arguments, **options))


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
        opened = module.Store.open if flavour == "sync" else module.Store.connect
        return self.wait_for(opened(server_url(), **where))

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
            key = self.key_of(record)
            assert repository.get(key) == record
            assert repository.find(key) == record
            assert repository.exists(key) is True
            absent = _ABSENT[self.entity_of(record).key_kind]
            assert repository.get_many([absent, key]) == [None, record]
            locked = self.wait_for(
                self.store.transact(lambda tx, r=repository, k=key: getattr(tx, r.name).get_for_update(k))
            )
            self.used.add(f"{repository.name}.get_for_update")
            assert locked == record

    def visit(self, record: Any) -> None:
        """Find a stored row through every view, unique value and filter that it has a value for."""
        repository, entity = self.repository_of(record), self.entity_of(record)
        for view in entity.views.values():
            values = [getattr(record, name) for name in view.fields]
            entries = [each for each in entity.entries(record) if getattr(each, "view", "") == view.name]
            if view.each:
                assert len(entries) in (0, len(set(getattr(record, view.each) or ())))
                for element in getattr(record, view.each) if entries else ():
                    self._visit_view(repository, view.name, [*values, element], record)
                if hasattr(repository.plain, f"group_counts_{view.name}"):
                    for group, number in getattr(repository, f"group_counts_{view.name}")(*values).items():
                        assert number == getattr(repository, f"count_{view.name}")(*values, group) > 0
            elif None not in values and (entries or not view.where):
                self._visit_view(repository, view.name, values, record)
            if view.each:
                continue
            if None not in values[:-1] and hasattr(repository.plain, f"group_counts_{view.name}"):
                groups = getattr(repository, f"group_counts_{view.name}")(*values[:-1])
                for group, number in groups.items():
                    assert number == getattr(repository, f"count_{view.name}")(*values[:-1], group) > 0
                assert values[-1] is None or values[-1] in groups
        for unique in entity.uniques.values():
            values = [getattr(record, name) for name in unique.fields]
            if None not in values:
                assert getattr(repository, f"get_by_{unique.name}")(*values) == record
                assert getattr(repository, f"find_by_{unique.name}")(*values) == record
        self._search(repository, entity, record)
        for referrer in self.package.PACKAGE.referrers[entity.name]:
            self._visit_family(repository, referrer, record)

    def _visit_family(self, repository: Repository, referrer: Referrer, record: Any) -> None:
        """Read a row with those that refer to it by one reference, and by another one of the same entity, if there is."""
        theirs = self._repository(referrer.entity.name)
        listed = getattr(theirs, f"list_{referrer.reference.via}")
        method = f"get_with_{theirs.name.removesuffix('_')}"
        if not hasattr(repository.plain, method):
            method += f"_by_{referrer.reference.field}"
        expected = listed(self.key_of(record), limit=1000).records
        assert getattr(repository, method)(self.key_of(record)) == (record, expected)
        assert getattr(repository, method)(self.key_of(record), newest=False) == (record, expected[::-1])
        leading = getattr(repository, method.replace("get_", "first_", 1))
        filters = self._filters(repository, record)
        assert leading(**filters) == (record, expected)
        assert leading(**filters, newest=False) == (record, expected[::-1])
        whole = [view for view in self.entity_of(record).views.values() if view.whole]
        for view in whole:
            values = {argument_name(name): filters.get(argument_name(name)) for name in view.fields}
            if None not in values.values():
                row, family = leading(**values, order=view.order)
                assert row == repository.first(**values, order=view.order)
                assert family == listed(self.key_of(row), limit=1000).records

    def _visit_view(self, repository: Repository, view: str, values: list[Any], record: Any) -> None:
        page: Page[Any] = getattr(repository, f"list_{view}")(*values, limit=1000)
        assert record in page.records
        assert page.cursor is None
        oldest_first = getattr(repository, f"iterate_{view}")(*values, batch=1, newest=False)
        assert oldest_first == list(reversed(page.records))
        assert getattr(repository, f"fetch_{view}")(*values) == page.records
        assert getattr(repository, f"fetch_{view}")(*values, newest=False) == oldest_first
        assert getattr(repository, f"count_{view}")(*values) == len(page.records)
        if hasattr(repository.plain, f"gather_{view}"):
            assert getattr(repository, f"gather_{view}")([*values, _absent_like(values[0])]) == [
                page.records,
                [],
            ]

    def _filters(self, repository: Repository, record: Any) -> dict[str, Any]:
        """Every filter that a record has a value for."""
        asked = inspect.signature(repository.plain.search).parameters
        return {
            argument_name(name): getattr(record, name)
            for name in record.__struct_fields__
            if argument_name(name) in asked and getattr(record, name) is not None
        }

    def _search(self, repository: Repository, entity: Entity[Any], record: Any) -> None:
        filters = self._filters(repository, record)
        assert filters
        assert all(isinstance(value, _SEARCHABLE) for value in filters.values())
        assert repository.search(**filters).records == repository.iterate(**filters) == [record]
        assert repository.fetch(**filters) == [record]
        assert repository.first(**filters) == record
        assert repository.explain(**filters).access == "key"
        del filters[argument_name(entity.key)]
        whole = [view for view in entity.views.values() if view.whole]
        for order in dict.fromkeys(view.order for view in whole):
            covered = [
                view
                for view in whole
                if view.order == order and all(argument_name(name) in filters for name in view.fields)
            ]
            if covered:
                assert record in repository.search(**filters, order=order, limit=1000).records
                assert record in repository.iterate(**filters, order=order)
                assert repository.explain(**filters, order=order).view in {view.name for view in covered}

    def write_again(self, record: Any) -> None:
        """Write a stored row in every way there is, and find what was written as `visit` does."""
        repository, key = self.repository_of(record), self.key_of(record)
        for written in (
            repository.save(record),
            repository.upsert(record),
            repository.change(key, lambda row: None),
        ):
            assert self.key_of(written) == key
        self.visit(repository.get(key))

    def remove(self, *records: Any) -> None:
        """Delete rows; the second time there is nothing to delete."""
        for record in records:
            repository, key = self.repository_of(record), self.key_of(record)
            repository.delete(key)
            assert repository.discard(key) is False
            assert repository.find(key) is None

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
        return getattr(record, self.entity_of(record).key)

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
    return next(absent for absent in _ABSENT.values() if isinstance(key, type(absent)))


async def _awaited(outcome: Any) -> Any:
    return await outcome


async def _collected(outcome: AsyncIterator[Any]) -> list[Any]:
    return [each async for each in outcome]


async def _made(make: Any, *arguments: Any) -> Any:
    return make(*arguments)
