"""A package whose rows are partitioned by their account: keys and unique values with homes, and without."""

from __future__ import annotations

import functools
import importlib
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from keyweave.keyspace.keys import Partition
from keyweave_generator.load import load_sources
from keyweave_generator.output import write
from keyweave_generator.render import render
from tests.over import opened_store
from tests.servers.running import server_url

PARTITIONS = 8

SOURCES = {
    "package.yaml": """\
package: estate_store
namespace: {app: estate, version: v1, environment: test, tenant: default}
groups:
  deals: {partitions: 8}
enums:
  State:
    values: [open, closed]
""",
    "account.yaml": """\
entity: Account
group: deals
key: id
fields:
  id: {type: id}
  email: {type: string}
  balance: {type: decimal, digits: 12, places: 2, default: "0"}
views:
  all: {fields: [], order: created, why: every account}
  by_balance: {fields: [], order: balance, why: the richest}
  by_email: {fields: [], order: email, why: an order of strings}
unique:
  email: {fields: [email], normalize: lower}
""",
    "deal.yaml": """\
entity: Deal
group: deals
key: id
partition_by: account_id
fields:
  id: {type: id}
  account_id: {type: id}
  parent_id: {type: id, optional: true}
  code: {type: string, optional: true}
  place: {type: int, optional: true}
  state: {type: State}
  worth: {type: int, default: 0}
  seen_at: {type: datetime, optional: true}
views:
  all: {fields: [], order: created, why: every deal}
  by_account: {fields: [account_id], order: created, why: the deals of an account}
  by_parent: {fields: [parent_id], order: created, why: the deals below one}
  by_state: {fields: [state], order: worth, why: lists}
  by_account_state: {fields: [account_id, state], order: created, why: counts}
unique:
  code: {fields: [code]}
  place: {fields: [account_id, place]}
references:
  account_id: {entity: Account, on_delete: cascade, via: by_account}
  parent_id: {entity: Deal, on_delete: cascade, via: by_parent}
hierarchy: {parent: parent_id, via: by_parent}
retention:
  when: state == 'closed'
  after: 1d
""",
    "line.yaml": """\
entity: Line
group: deals
key: [account_id, number]
fields:
  account_id: {type: id}
  number: {type: int}
  text: {type: string}
views:
  all: {fields: [], order: created, why: every line}
  by_account: {fields: [account_id], order: created, why: the lines of an account}
references:
  account_id: {entity: Account, on_delete: cascade, via: by_account}
""",
    "slot.yaml": """\
entity: Slot
group: deals
key: id
partition_by: shelf
fields:
  id: {type: id}
  shelf: {type: int}
  name: {type: string}
views:
  by_shelf: {fields: [shelf], order: created, why: the slots of a shelf}
unique:
  name: {fields: [name, shelf]}
  shelf: {fields: [shelf], where: name == 'only'}
""",
}


@functools.cache
def estate() -> Any:
    """The package, generated and imported. Its flavours are `sync` and `aio`."""
    folder = tempfile.TemporaryDirectory()
    write(Path(folder.name), render(load_sources(SOURCES)))
    sys.path.insert(0, folder.name)
    try:
        package = importlib.import_module("estate_store")
        for flavour in ("sync", "aio"):
            importlib.import_module(f"estate_store.{flavour}")
    finally:
        sys.path.remove(folder.name)
        folder.cleanup()
    return package


class Estate:
    """An open store, with short ways to make rows and to look at where they are."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.context = store._session.context

    def account(self, name: str, **fields: Any) -> Any:
        given = {"email": f"{name}@x", **fields}
        return self.store.accounts.create(estate().Account(id=name, **given))

    def deal(self, name: str, account: str, **fields: Any) -> Any:
        given = {"state": estate().State.OPEN, **fields}
        return estate().Deal(id=name, account_id=account, **given)

    def partition(self, account: str) -> Partition:
        return self.context.keyspace.partition("deals", account)

    def ask(self, *command: Any) -> Any:
        return self.store._session.shell.channel.exchange([command])[0]

    def homes(self) -> dict[str, int]:
        """Every home, by what has it: the place that it names."""
        found: dict[str, int] = {}
        for partition in self.context.keyspace.partitions():
            for entity, unique in (("Deal", ""), ("Deal", "code"), ("Deal", "place"), ("Account", "email")):
                flat = self.ask("HGETALL", partition.homes(entity, unique))
                names = [f"{entity}.{unique}:{value.decode()}" for value in flat[::2]]
                found |= dict(zip(names, [int(home.split()[0]) for home in flat[1::2]], strict=True))
        return found

    def others(self, account: str) -> str:
        """The name of an account in another partition."""
        here = self.partition(account).index
        return next(name for name in map("other{}".format, range(99)) if self.partition(name).index != here)

    def settle(self) -> int:
        """Sweep what is due."""
        return int(self.store.sweep())


@contextmanager
def opened(namespace: str, **options: Any) -> Iterator[Estate]:
    """An estate on the server under test."""
    retention = options.pop("retention", {"Deal": timedelta(days=1)})
    store = opened_store(
        estate().sync, "sync", server_url(), namespace=namespace, retention=retention, **options
    )
    try:
        yield Estate(store)
    finally:
        store.close()
