"""A small generated package of a shop's till: records in lists and maps, with and without a merge, and moments.

`NEWER` is the same schema as newer code has it: its nested records have one member more.
"""

from __future__ import annotations

import functools
import importlib
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Final

from keyweave_generator.load import load_sources
from keyweave_generator.output import write
from keyweave_generator.render import render

_PACKAGE: Final = """\
package: {name}
namespace: {{app: till, version: v1, environment: test, tenant: default}}
groups:
  sales: {{}}
enums:
  Outcome:
    values: [running, paid, void]
records:
  Line:
    fields:
      sku: {{type: string, trim: true}}
      quantity: {{type: int, default: 1}}
      sold_at: {{type: datetime, optional: true}}
      extra: {{type: json, optional: true}}{more}
  Part:
    fields:
      number: {{type: string}}
      weight: {{type: float, default: 0}}{more}
  Mark:
    fields:
      text: {{type: string, default: ""}}
      size: {{type: int, default: 0}}{more}
"""

_SALE: Final = """\
entity: Sale
group: sales
key: id
fields:
  id: {type: id}
  outcome: {type: Outcome, optional: true}
  note: {type: string, optional: true}
  due: {type: datetime, optional: true}
  seen: {type: datetime, optional: true}
  lines: {type: list, of: Line, default: []}
  parts: {type: list, of: Part, default: []}
  marks: {type: list, of: Mark, default: []}
  named: {type: map, of: Part, default: {}}
  extra: {type: json, optional: true}
views:
  all: {fields: [], order: created, why: lists}
  by_note: {fields: [note], order: created, why: lists}
  by_due: {fields: [due], order: created, why: lists}
merge:
  lines: {key: [sku], rules: {quantity: sum, sold_at: min}}
"""

OLDER: Final = "till_store"
NEWER: Final = "newer_till_store"
_MORE: Final = {OLDER: "", NEWER: "\n      discount: {type: int, optional: true}"}


@functools.cache
def till(name: str = OLDER) -> ModuleType:
    """The package as older or newer code has it, generated and imported. Its flavours are `sync` and `aio`."""
    more = _MORE[name].replace("{", "{{").replace("}", "}}").format()
    sources = {"package.yaml": _PACKAGE.format(name=name, more=more), "sale.yaml": _SALE}
    folder = tempfile.TemporaryDirectory()
    sys.path.insert(0, folder.name)
    try:
        write(Path(folder.name), render(load_sources(sources)))
        package = importlib.import_module(name)
        for flavour in ("sync", "aio"):
            importlib.import_module(f"{name}.{flavour}")
    finally:
        sys.path.remove(folder.name)
        folder.cleanup()
    return package
