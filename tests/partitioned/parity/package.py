"""The package of the comparison: homes and no homes, every kind of key, order and unique value, trees, merges and deadlines."""

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
    "package.yaml": """
package: twin_store
namespace: {app: twin, version: v1, environment: test, tenant: default}
groups: {deals: {}}
enums: {State: {values: [open, held, closed]}}
records:
  Use:
    fields:
      name: {type: string}
      count: {type: int, min: 0, default: 0}
""",
    "account.yaml": """
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
    "deal.yaml": """
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
  worth: {type: int, default: 0, min: 0}
  title: {type: string, default: ""}
  tags: {type: list, of: string, default: []}
  uses: {type: list, of: Use, optional: true}
  made_at: {type: datetime, managed: created}
views:
  all: {fields: [], order: created, why: every deal}
  by_change: {fields: [], order: revision, why: the latest}
  by_account: {fields: [account_id], order: created, why: the deals of an account}
  by_parent: {fields: [parent_id], order: created, why: the deals below one}
  by_state: {fields: [state], order: worth, why: lists}
  by_state_age: {fields: [state], order: created, why: lists}
  by_account_state: {fields: [account_id, state], order: created, why: counts}
  by_worth: {fields: [], order: worth, why: lists}
  by_title: {fields: [], order: title, why: an order of strings}
  by_tag: {fields: [], each: tags, order: created, why: lists}
  held: {fields: [], where: state == 'held', order: created, why: a part}
unique:
  code: {fields: [code]}
  place: {fields: [account_id, place]}
references:
  account_id: {entity: Account, on_delete: cascade, via: by_account}
  parent_id: {entity: Deal, on_delete: cascade, via: by_parent}
hierarchy: {parent: parent_id, via: by_parent}
retention: {when: state == 'closed', after: 1d}
merge:
  uses: {key: [name], rules: {count: sum}}
""",
    "line.yaml": """
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
  account_id: {entity: Account, on_delete: restrict, via: by_account}
""",
    "note.yaml": """
entity: Note
group: deals
key: id
partition_by: account_id
fields:
  id: {type: id, auto: ksuid}
  account_id: {type: id}
  number: {type: int}
views:
  all: {fields: [], order: created, why: every note}
  by_number: {fields: [], order: number, why: by number}
""",
    "slot.yaml": """
entity: Slot
group: deals
key: id
partition_by: shelf
fields:
  id: {type: id}
  shelf: {type: int}
  name: {type: string}
views:
  all: {fields: [], order: created, why: every slot}
  by_shelf: {fields: [shelf], order: created, why: the slots of a shelf}
unique:
  name: {fields: [name, shelf]}
  only: {fields: [name], where: name == 'only'}
""",
}


@functools.cache
def twin() -> Any:
    """The package, generated and imported."""
    folder = tempfile.TemporaryDirectory()
    write(Path(folder.name), render(load_sources(SOURCES)))
    sys.path.insert(0, folder.name)
    try:
        package = importlib.import_module("twin_store")
        importlib.import_module("twin_store.sync")
    finally:
        sys.path.remove(folder.name)
        folder.cleanup()
    return package
