"""Packages generated from variations of one schema. They share a namespace, and live in one process side by side."""

from __future__ import annotations

import importlib
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

from keyweave_generator.load import load
from keyweave_generator.output import write
from keyweave_generator.render import render

PACKAGE: Final = """
package: {name}
doc: A library of notes.
namespace: {{app: notes, version: v1, environment: test, tenant: default}}
groups:
  notes:
    doc: Notes and their remarks.
enums:
  State:
    doc: Where a note stands.
    values: [draft, public]
"""

NOTE: Final = """
entity: Note
doc: A note.
group: notes
key: id
fields:
  id: {type: id}
  owner: {type: id}
  slug: {type: string}
  state: {type: State, default: draft}
"""

REMARK: Final = """
entity: Remark
doc: A remark about a note.
group: notes
key: id
fields:
  id: {type: id}
  note_id: {type: id}
views:
  by_note:
    fields: [note_id]
    order: created
    why: The cascade.
references:
  note_id: {entity: Note, on_delete: cascade, via: by_note}
"""

ALL: Final = """
views:
  all:
    fields: []
    order: created
    why: Everything, newest first.
"""

BY_STATE: Final = """
  by_state:
    fields: [state]
    order: created
    why: Notes by state.
"""

SLUG: Final = """
unique:
  slug:
    fields: [slug]
    normalize: lower
    doc: One note per slug.
"""

OLD: Final = NOTE + ALL
"""The schema that wrote the data."""


@cache
def generated(note: str = OLD, *more: str) -> ModuleType:
    """The package of a schema with one entity `Note` (as YAML), and others.

    Equal schemas are one package; the folder is deleted when the process ends.
    """
    number = generated.cache_info().misses
    name = f"notes_{number}_store"
    root = Path(_FOLDER.name)
    schema = root / f"schema_{number}"
    schema.mkdir()
    (schema / "package.yaml").write_text(PACKAGE.format(name=name), "utf-8")
    for index, text in enumerate((note, *more)):
        (schema / f"entity_{index}.yaml").write_text(text, "utf-8")
    write(root / "generated", render(load(schema)))
    if str(root / "generated") not in sys.path:
        sys.path.insert(0, str(root / "generated"))
    importlib.invalidate_caches()
    module = importlib.import_module(name)
    for flavour in ("sync", "aio"):
        importlib.import_module(f"{name}.{flavour}")
    return module


_FOLDER: Final = tempfile.TemporaryDirectory(prefix="evolution-")
