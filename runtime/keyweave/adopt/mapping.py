"""The map of an adoption: which column each field comes from. `keyweave adopt --rows` reads it; people may edit it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import msgspec

from keyweave.adopt.design import Design, EntityDesign
from keyweave.adopt.errors import MapError

MAP: Final = ".adopt.json"
"""Name of the file in the schema's folder. It is hidden, because a schema's folder has no other files."""

FORMAT: Final = 1


class FieldMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One field: its column, and how values are read; see `keyweave.adopt.value`."""

    column: str
    field: str
    kind: str


class TableMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table and its entity.

    Attributes:
        only: whether tables inherit from it, whose rows are left out.
        key: the columns that identify a row.
        left_out: columns that no field holds, because a person removed it.
    """

    table_schema: str
    table: str
    entity: str
    key: tuple[str, ...]
    fields: tuple[FieldMap, ...]
    only: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """`schema.table`, as messages show it."""
        return f"{self.table_schema}.{self.table}"


class AdoptMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole map."""

    keyweave_adopt: int
    database: str
    package: str
    tables: tuple[TableMap, ...]


def map_of(design: Design) -> AdoptMap:
    """Return the map of a schema that was made from a catalogue."""
    return AdoptMap(FORMAT, design.database, design.package, tuple(map(_table, design.entities)))


def _table(entity: EntityDesign) -> TableMap:
    fields = tuple(FieldMap(each.column, each.name, each.kind) for each in entity.fields.values())
    key = tuple(entity.fields[name].column for name in entity.key)
    return TableMap(entity.schema, entity.table, entity.name, key, fields, entity.only)


def write_map(mapping: AdoptMap) -> str:
    """Return the text of a map: a line for each field, so that a person can edit it."""
    tables = []
    for table in mapping.tables:
        whole = msgspec.to_builtins(table)
        fields = ",\n    ".join(json.dumps(each, ensure_ascii=False) for each in whole.pop("fields"))
        rest = json.dumps(whole, ensure_ascii=False)[1:-1]
        tables.append(f'  {{{rest}, "fields": [\n    {fields}]}}')
    head = json.dumps(
        {"keyweave_adopt": FORMAT, "database": mapping.database, "package": mapping.package},
        ensure_ascii=False,
    )
    return f'{head[:-1]}, "tables": [\n' + ",\n".join(tables) + "]}\n"


def read_map(folder: Path) -> AdoptMap:
    """Read the map in a schema's folder.

    Raises:
        MapError: there is none, or it cannot be read.
    """
    path = folder / MAP
    try:
        found = msgspec.json.decode(path.read_bytes(), type=AdoptMap)
    except FileNotFoundError:
        raise MapError(
            f"there is no {path}; write a schema first, with keyweave adopt and without --rows, or name its folder with --out"
        ) from None
    except OSError as error:
        raise MapError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MapError(f"{path} is not the map of an adoption: {error}") from None
    if found.keyweave_adopt != FORMAT:
        raise MapError(f"{path} has format {found.keyweave_adopt}; this release reads format {FORMAT}")
    return found
