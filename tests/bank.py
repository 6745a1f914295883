"""A small generated package of accounts: numbers, limits, a trimmed key, a unique value, references and retention."""

from __future__ import annotations

import functools
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from keyweave_generator.load import load_sources
from keyweave_generator.output import write
from keyweave_generator.render import render

SOURCES = {
    "package.yaml": """\
package: bank_store
namespace: {app: bank, version: v1, environment: test, tenant: default}
groups:
  money: {}
enums:
  State:
    values: [open, closed]
records:
  Line:
    fields:
      text: {type: string}
      amount: {type: int, default: 0}
""",
    "branch.yaml": """\
entity: Branch
group: money
key: code
fields:
  code: {type: string, trim: true}
""",
    "account.yaml": """\
entity: Account
group: money
key: number
fields:
  number: {type: string, trim: true, min_length: 1}
  branch: {type: string, trim: true, optional: true}
  name: {type: string, max_length: 20, default: none}
  key: {type: string, optional: true}
  state: {type: State, default: open}
  balance: {type: int, min: 0, max: 1000000, default: 0}
  limit: {type: int, optional: true}
  rate: {type: float, default: 0}
  price: {type: decimal, digits: 6, places: 2, default: "0"}
  total: {type: decimal, optional: true}
  day: {type: date, optional: true}
  tags: {type: set, of: string, default: []}
  opened_at: {type: datetime, optional: true}
  lines: {type: list, of: Line, default: []}
  labels: {type: map, of: string, default: {}}
  notes: {type: json, optional: true}
  pin: {type: string, secret: true, optional: true}
  made_at: {type: datetime, managed: created}
  changed_at: {type: datetime, managed: updated}
unique:
  name: {fields: [name, key], normalize: lower, error: NameTakenError}
views:
  all: {fields: [], order: created, why: All.}
  by_state: {fields: [state], order: balance, why: A state.}
  by_branch: {fields: [branch], order: created, why: The branch.}
references:
  branch: {entity: Branch, on_delete: restrict}
checks:
  closed_is_empty: {rule: 'state != "closed" or balance == 0'}
retention: {when: 'state == "closed"', after: 30d}
""",
    "card.yaml": """\
entity: Card
group: money
key: id
fields:
  id: {type: id}
  account: {type: string, trim: true}
views:
  by_account: {fields: [account], order: created, why: The account.}
references:
  account: {entity: Account, on_delete: cascade}
""",
}


@functools.cache
def bank() -> Any:
    """The package, generated and imported. Its flavours are `sync` and `aio`."""
    folder = tempfile.TemporaryDirectory()
    write(Path(folder.name), render(load_sources(SOURCES)))
    sys.path.insert(0, folder.name)
    try:
        package = importlib.import_module("bank_store")
        for flavour in ("sync", "aio"):
            importlib.import_module(f"bank_store.{flavour}")
    finally:
        sys.path.remove(folder.name)
        folder.cleanup()
    return package
