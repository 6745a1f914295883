"""A small generated package with features that the engine's schema lacks: restrict, and a unique value with retention."""

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
package: depot_store
namespace: {app: depot, version: v1, environment: test, tenant: default}
groups:
  goods: {}
enums:
  State:
    values: [open, closed]
""",
    "shelf.yaml": """\
entity: Shelf
group: goods
key: id
fields:
  id: {type: id}
""",
    "box.yaml": """\
entity: Box
group: goods
key: id
fields:
  id: {type: id}
  shelf_id: {type: id}
views:
  by_shelf: {fields: [shelf_id], order: created, why: the cascade}
references:
  shelf_id: {entity: Shelf, on_delete: cascade, via: by_shelf}
""",
    "seal.yaml": """\
entity: Seal
group: goods
key: id
fields:
  id: {type: id}
  box_id: {type: id, optional: true}
views:
  by_box: {fields: [box_id], order: created, why: the seals that forbid deleting a box}
references:
  box_id: {entity: Box, on_delete: restrict, via: by_box}
""",
    "ticket.yaml": """\
entity: Ticket
group: goods
key: id
fields:
  id: {type: id}
  code: {type: string}
  state: {type: State}
views:
  by_state: {fields: [state], order: created, why: lists}
unique:
  code: {fields: [code], normalize: lower}
retention:
  when: state == 'closed'
  after: 1d
""",
}


@functools.cache
def depot() -> Any:
    """The package, generated and imported. Its flavours are `sync` and `aio`."""
    folder = tempfile.TemporaryDirectory()
    write(Path(folder.name), render(load_sources(SOURCES)))
    sys.path.insert(0, folder.name)
    try:
        package = importlib.import_module("depot_store")
        for flavour in ("sync", "aio"):
            importlib.import_module(f"depot_store.{flavour}")
    finally:
        sys.path.remove(folder.name)
        folder.cleanup()
    return package
