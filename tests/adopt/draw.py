"""Random databases: names, types, keys, indexes, checks and references that fit together as far as PostgreSQL demands it."""

from __future__ import annotations

import random
from typing import Final

WORDS: Final = (
    "id user users User order Order group class from select index key value name type created created_at updated_at updated revision expires "
    "op to_dict store page pages session limit cursor record list dict str int None True false null in is not and len self cls data "
    "status statuses address boxes news person people child children package query where get create delete all by_id count entity "
    "a_very_long_name_that_goes_on_and_on_until_postgresql_cuts_it_off_there a__b _x x_ 1a ü ß 名前 a-b a.b a'b a\"b A1 aB"
).split()
TYPES: Final = (
    "int bigint smallint text varchar(10) char(3) numeric(8,2) numeric numeric(20,4) boolean date time timestamp timestamptz interval uuid "
    "jsonb json bytea real float8 inet text[] int[] kind kind[] amount pair int4range money tsvector"
).split()
KEYS: Final = "int bigint text uuid varchar(20) numeric(9) date timestamptz kind amount boolean bytea".split()
NUMBERS: Final = ("int", "bigint", "smallint", "numeric(8,2)", "numeric", "amount")
SORTED: Final = {"jsonb", "json", "pair", "money", "tsvector", "kind[]", "int4range"}
TYPES_OF_THE_DATABASE: Final = """
create type kind as enum ('one', 'two words', '3', 'true');
create domain amount as numeric(9, 2) check (value >= 0);
create type pair as (a int, b text);
"""


class Drawn:
    """A random database as SQL."""

    def __init__(self, seed: str) -> None:
        self._draw = random.Random(seed)
        self._tables: list[tuple[str, str, str]] = []

    def sql(self) -> str:
        """The statements."""
        names = self._names(self._draw.randint(2, 7))
        return TYPES_OF_THE_DATABASE + "\n".join(self._table(name) for name in names)

    def _names(self, count: int) -> list[str]:
        found: list[str] = []
        for word in self._draw.sample(WORDS, count):
            name = word if self._draw.random() < 0.7 else f"{word} {self._draw.choice(WORDS)}"
            if _cut(name) not in found:
                found.append(_cut(name))
        return found

    def _table(self, name: str) -> str:
        draw, table = self._draw, _quoted(name)
        columns = self._names(draw.randint(2, 12))
        types = {columns[0]: draw.choice(KEYS), **{column: draw.choice(TYPES) for column in columns[1:]}}
        key = columns[:1]
        if draw.random() < 0.25 and types[columns[1]] not in SORTED | {"text[]", "int[]", "interval"}:
            key = columns[:2]
        lines = []
        references: dict[str, str] = {}
        for column in columns[1:]:
            if self._tables and column not in key and draw.random() < 0.25:
                target, target_key, type_ = draw.choice(self._tables)
                types[column] = type_
                action = draw.choice(("cascade", "set null", "restrict", "no action"))
                references[column] = (
                    f" references {_quoted(target)} ({_quoted(target_key)}) on delete {action}"
                )
        for column, type_ in types.items():
            required = " not null" if draw.random() < 0.5 else ""
            lines.append(f"{_quoted(column)} {type_}{required}{references.get(column, '')}")
        lines.append(f"primary key ({', '.join(map(_quoted, key))})")
        lines += self._checks(types)
        statements = [f"create table {table} ({', '.join(lines)});"]
        usable = [column for column, type_ in types.items() if type_ not in SORTED]
        for _ in range(draw.randint(0, 4)):
            statements.append(self._index(table, usable, types))
        if len(key) == 1:
            self._tables.append((name, key[0], types[key[0]]))
        return "\n".join(statements)

    def _checks(self, types: dict[str, str]) -> list[str]:
        draw = self._draw
        found = []
        for column, type_ in types.items():
            name = _quoted(column)
            if type_ in NUMBERS and draw.random() < 0.4:
                found.append(
                    f"check ({name} {draw.choice(('>', '<>', '<=', '>='))} {draw.randint(-3, 3)} or {name} is null)"
                )
            elif type_.startswith(("text", "varchar")) and "[" not in type_ and draw.random() < 0.4:
                found.append(f"check ({name} in ('a', 'b c', 'ü', '1'))")
            elif type_ == "boolean" and draw.random() < 0.4:
                found.append(f"check (not {name})")
        return found

    def _index(self, table: str, usable: list[str], types: dict[str, str]) -> str:
        draw = self._draw
        columns = draw.sample(usable, min(len(usable), draw.randint(1, 3)))
        parts = [f"{_quoted(column)}{draw.choice(('', ' desc'))}" for column in columns]
        if types[columns[0]] == "text" and draw.random() < 0.4:
            parts[0] = f"lower({_quoted(columns[0])})"
        unique = "unique " if draw.random() < 0.4 else ""
        condition = _quoted(draw.choice(usable))
        where = f" where {condition} is {draw.choice(('', 'not '))}null" if draw.random() < 0.3 else ""
        return f"create {unique}index on {table} ({', '.join(parts)}){where};"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _cut(name: str) -> str:
    """The name as PostgreSQL keeps it: 63 bytes."""
    return name.encode()[:63].decode(errors="ignore")
