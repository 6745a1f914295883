"""The package of the queries: one entity with a field of each kind, and one that refers to it."""

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
package: stock_store
namespace: {app: stock, version: v1, environment: test, tenant: t}
groups: {all: {}}
enums: {Kind: {values: [tool, part, book]}}
""",
    "item.yaml": """
entity: Item
group: all
key: id
fields:
  id: {type: id}
  kind: {type: Kind}
  owner: {type: string, trim: true}
  team: {type: string, optional: true}
  price: {type: int}
  weight: {type: float}
  opened: {type: datetime}
  length: {type: duration}
  flag: {type: bool, optional: true}
  rank: {type: int, optional: true}
  tags: {type: list, of: string, default: []}
  slug: {type: string}
  cost: {type: decimal, digits: 12, places: 3, default: 0}
  day: {type: date, default: "2026-01-01"}
  starts: {type: time, default: "09:00"}
  made: {type: datetime, managed: created}
  changed: {type: datetime, managed: updated}
unique:
  flagged_slug: {fields: [slug, kind], where: flag == true}
  slug: {fields: [slug], normalize: [lower]}
views:
  all: {fields: [], order: created, why: everything}
  by_change: {fields: [], order: revision, why: the latest}
  by_kind: {fields: [kind], order: created, why: lists}
  by_kind_owner: {fields: [kind, owner], order: created, why: lists}
  by_team: {fields: [team], order: revision, why: lists}
  by_flag: {fields: [flag], order: created, why: lists}
  by_owner_price: {fields: [owner], order: price, why: lists}
  by_price: {fields: [], order: price, why: lists}
  by_kind_weight: {fields: [kind], order: weight, why: lists}
  by_opened: {fields: [], order: opened, why: lists}
  by_length: {fields: [owner], order: length, why: lists}
  by_tag: {fields: [], each: tags, order: created, why: lists}
  by_owner_tag: {fields: [owner], each: tags, order: price, why: lists}
  cheap_tag: {fields: [], each: tags, order: price, where: price < 3, why: lists}
  cheap: {fields: [], order: price, where: price < 3, why: the cheap ones}
  unranked: {fields: [kind], order: created, where: rank is null and owner >= 'ab', why: lists}
  flagged: {fields: [], order: revision, where: flag == true and team is not null, why: lists}
  some_kinds: {fields: [], order: weight, where: "kind in ['tool', 'book'] and weight != 0.25", why: lists}
  odd: {fields: [team], order: created, where: flag or price > 4, why: a condition that no filter implies}
  by_slug: {fields: [], order: slug, why: lists}
  by_owner: {fields: [], order: owner, why: lists}
  by_kind_from_owner: {fields: [kind], order: owner desc, why: lists}
  by_team_owner: {fields: [team], order: owner, why: lists}
  by_tag_owner: {fields: [], each: tags, order: owner, why: lists}
  flagged_owner: {fields: [kind], order: owner, where: flag == true, why: lists}
  by_id: {fields: [kind], order: id, why: lists}
  cheapest: {fields: [kind], order: price asc, why: lists}
  first: {fields: [kind, team], order: created asc, why: lists}
  by_cost: {fields: [], order: cost asc, why: lists}
  by_day: {fields: [kind], order: day, why: lists}
  by_rank: {fields: [], order: rank, why: lists}
  by_kind_rank: {fields: [kind], order: rank asc, why: lists}
  in_team: {fields: [kind], order: team, why: lists}
  flagged_team: {fields: [kind], order: team desc, where: flag == true, why: lists}
  by_starts: {fields: [], order: starts asc, why: lists}
""",
    "note.yaml": """
entity: Note
group: all
key: id
fields:
  id: {type: id}
  item: {type: id}
  state: {type: int}
  made: {type: datetime, managed: created}
views:
  by_item: {fields: [item], order: created, why: the notes of an item}
  by_state: {fields: [state], order: created, why: lists}
  all: {fields: [], order: created, why: everything}
references:
  item: {entity: Item, on_delete: cascade, via: by_item}
""",
}


@functools.cache
def stock() -> Any:
    """The package, generated and imported."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), render(load_sources(SOURCES)))
        sys.path.insert(0, folder)
        try:
            package = importlib.import_module("stock_store")
            for flavour in ("sync", "aio"):
                importlib.import_module(f"stock_store.{flavour}")
        finally:
            sys.path.remove(folder)
    return package
