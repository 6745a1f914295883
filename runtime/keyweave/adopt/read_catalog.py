"""Reads the catalogue of PostgreSQL. All queries run in the snapshot of the connection."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, Final, LiteralString

from keyweave.adopt.catalog import Catalog, Check, Column, ForeignKey, Index, IndexPart, SqlType, Table
from keyweave.adopt.errors import NoTableError
from keyweave.adopt.source import Connection

_RELATIONS: Final = """
select c.oid::int8, n.nspname, c.relname, c.relkind::text, coalesce(obj_description(c.oid, 'pg_class'), ''),
       c.relrowsecurity, c.reltuples::float8, c.relispartition,
       array(select quote_ident(pn.nspname) || '.' || quote_ident(p.relname) from pg_inherits h
             join pg_class p on p.oid = h.inhparent join pg_namespace pn on pn.oid = p.relnamespace
             where h.inhrelid = c.oid order by h.inhseqno),
       exists(select from pg_inherits h where h.inhparent = c.oid),
       array(select t.tgname::text from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal order by 1)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists(select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
order by n.nspname, c.relname
"""

_COLUMNS: Final = """
select a.attrelid::int8, a.attname, a.atttypid::int8, a.atttypmod, a.attnotnull, a.attidentity::text, a.attgenerated::text,
       coalesce(pg_get_expr(d.adbin, d.adrelid), ''), coalesce(col_description(a.attrelid, a.attnum), ''), a.attnum::int4
from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = any(%s::oid[]) and a.attnum > 0 and not a.attisdropped order by a.attrelid, a.attnum
"""

_TYPES: Final = """
select t.oid::int8, t.typname, t.typtype::text, t.typelem::int8, t.typbasetype::int8, t.typtypmod, t.typnotnull, t.typcategory::text,
       format_type(t.oid, null), coalesce(t.typdefault, ''), e.oid::int8 is not null
from pg_type t left join pg_type e on e.oid = t.typelem and e.typarray = t.oid
"""

_LABELS: Final = "select enumtypid::int8, enumlabel from pg_enum order by enumtypid, enumsortorder"

_DOMAIN_CHECKS: Final = """
select contypid::int8, pg_get_constraintdef(oid) from pg_constraint where contypid <> 0 and contype = 'c' order by conname
"""

_INDEXES: Final = """
select i.indrelid::int8, c.relname, m.amname, i.indisunique, i.indisprimary, i.indisvalid,
       coalesce(pg_get_expr(i.indpred, i.indrelid), ''), coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false),
       coalesce(k.condeferrable, false), k.oid is not null,
       array(select coalesce(a.attname::text, '') from generate_series(0, i.indnatts - 1) n
             left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[n] order by n),
       array(select pg_get_indexdef(i.indexrelid, n, false) from generate_series(1, i.indnkeyatts::int4) n order by n),
       array(select i.indoption[n] & 1 = 1 from generate_series(0, i.indnkeyatts - 1) n order by n),
       array(select o.opcname::text from generate_series(0, i.indnkeyatts - 1) n
             join pg_opclass o on o.oid = i.indclass[n] order by n)
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam
left join pg_constraint k on k.conindid = i.indexrelid and k.conrelid = i.indrelid and k.contype in ('p', 'u', 'x')
where i.indrelid = any(%s::oid[]) and not exists(
    select from pg_constraint x where x.conindid = i.indexrelid and x.contype = 'x')
order by i.indrelid, c.relname
"""

_CONSTRAINTS: Final = """
select k.conrelid::int8, k.contype::text, k.conname,
       array(select a.attname::text from unnest(k.conkey) with ordinality u(n, o)
             join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.n order by u.o),
       n.nspname, c.relname,
       array(select a.attname::text from unnest(k.confkey) with ordinality u(n, o)
             join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.n order by u.o),
       k.confdeltype::text, k.confupdtype::text, k.condeferrable, k.convalidated,
       coalesce(pg_get_expr(k.conbin, k.conrelid), '')
from pg_constraint k left join pg_class c on c.oid = k.confrelid left join pg_namespace n on n.oid = c.relnamespace
where k.conrelid = any(%s::oid[]) and k.contype in ('c', 'f', 'x') and k.conparentid = 0
order by k.conrelid, k.conname
"""

_ACTIONS: Final = {
    "a": "NO ACTION",
    "r": "RESTRICT",
    "c": "CASCADE",
    "n": "SET NULL",
    "d": "SET DEFAULT",
    " ": "NO ACTION",
}
_OTHERS: Final = {"v": "view", "m": "materialized view", "f": "foreign table", "r": "table", "p": "table"}


def read_catalog(
    connection: Connection, *, schemas: Collection[str] = (), tables: Collection[str] = ()
) -> Catalog:
    """Read the tables of some schemas, by default of all that are not PostgreSQL's own.

    Args:
        schemas: names of schemas.
        tables: names of tables, also as `schema.table`; by default all of the schemas.

    Raises:
        NoTableError: there is no such table or schema, or no table.
    """
    (database,) = _one(connection, "select current_database()::text")
    relations = connection.execute(_RELATIONS).fetchall()
    chosen, skipped = _choose(relations, schemas, tables)
    found: dict[int, Table] = {}
    for row in chosen:
        oid, schema, name, kind, doc, secured, estimate, partition, parents, children, triggers = row
        found[oid] = Table(
            schema,
            name,
            doc,
            kind == "p",
            () if partition else tuple(parents),
            bool(children) and kind != "p",
            triggers=tuple(triggers),
            row_security=secured,
            estimate=int(estimate),
        )
    _read_columns(connection, found)
    _read_indexes(connection, found)
    _read_constraints(connection, found)
    return Catalog(database, list(found.values()), skipped)


def _one(connection: Connection, query: LiteralString) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row


def _choose(
    relations: list[tuple[Any, ...]], schemas: Collection[str], tables: Collection[str]
) -> tuple[list[tuple[Any, ...]], list[str]]:
    """The tables that are adopted, and the words for what is not."""
    there = sorted({row[1] for row in relations})
    unknown = sorted(set(schemas) - set(there))
    if unknown:
        raise NoTableError(
            f"there is no schema {unknown[0]!r} with tables (there are: {', '.join(there) or 'none'})"
        )
    inside = [row for row in relations if not schemas or row[1] in schemas]
    usable = [row for row in inside if row[3] in "rp" and not row[7]]
    for name in tables:
        matches = [row for row in inside if name in (row[2], f"{row[1]}.{row[2]}")]
        if not matches:
            known = ", ".join(f"{row[1]}.{row[2]}" for row in usable[:20])
            raise NoTableError(f"there is no table {name!r} (there are: {known or 'none'})")
        if not any(row in usable for row in matches):
            what = "partition" if matches[0][7] else _OTHERS[matches[0][3]]
            reason = "its rows come with the partitioned table" if matches[0][7] else "only tables hold rows"
            raise NoTableError(f"{name!r} is a {what}: {reason}")
    chosen = [row for row in usable if not tables or row[2] in tables or f"{row[1]}.{row[2]}" in tables]
    if not chosen:
        where = f"the schemas {', '.join(schemas)} have" if schemas else "the database has"
        raise NoTableError(f"{where} no table that this user can see")
    left = [row for row in inside if row not in chosen and not row[7]]
    return chosen, [f"{_OTHERS[row[3]]} {row[1]}.{row[2]}" for row in left]


def _read_columns(connection: Connection, found: Mapping[int, Table]) -> None:
    types = {row[0]: row for row in connection.execute(_TYPES)}
    labels: defaultdict[int, list[str]] = defaultdict(list)
    for oid, label in connection.execute(_LABELS):
        labels[oid].append(label)
    checks: defaultdict[int, list[str]] = defaultdict(list)
    for oid, text in connection.execute(_DOMAIN_CHECKS):
        checks[oid].append(re.sub(r"^CHECK \((.*?)\)( NOT VALID)?$", r"\1", text, flags=re.DOTALL))
    for row in connection.execute(_COLUMNS, (list(found),)):
        oid, name, type_oid, modifier, required, identity, generated, default, doc, _ = row
        type_, not_null, of_domain = _type_of(type_oid, modifier, types, labels, checks)
        found[oid].columns.append(
            Column(
                name,
                type_,
                not (required or not_null),
                "" if generated else default or of_domain,
                default if generated else "",
                bool(identity),
                doc,
            )
        )


def _type_of(
    oid: int,
    modifier: int,
    types: Mapping[int, tuple[Any, ...]],
    labels: Mapping[int, list[str]],
    checks: Mapping[int, list[str]],
) -> tuple[SqlType, bool, str]:
    """The type behind domains, whether a domain forbids null, and the default of a domain."""
    domain, found, required, default = "", [], False, ""
    while types[oid][2] == "d":
        _, _, _, _, base, inner, not_null, _, shown, given, _ = types[oid]
        domain = domain or shown
        found += checks.get(oid, [])
        required = required or not_null
        default = default or given
        oid, modifier = base, inner
    _, name, kind, element, _, _, _, _, shown, _, is_array = types[oid]
    if is_array:
        inner, _, _ = _type_of(element, modifier, types, labels, checks)
        nested = inner.domain or inner.shown
        return (
            SqlType(
                inner.name,
                f"{nested}[]",
                inner.kind,
                True,
                inner.length,
                inner.precision,
                inner.scale,
                inner.labels,
                domain or inner.domain,
                (*found, *inner.domain_checks),
            ),
            required,
            default,
        )
    length = precision = scale = 0
    if modifier >= 4 and name in ("varchar", "bpchar"):
        length = modifier - 4
        shown = f"{shown}({length})"
    elif modifier >= 4 and name == "numeric":
        precision = (modifier - 4) >> 16 & 0xFFFF
        scale = ((modifier - 4 & 0x7FF) ^ 1024) - 1024
        shown = f"numeric({precision},{scale})"
    return (
        SqlType(
            name,
            shown,
            kind,
            False,
            length,
            precision,
            scale,
            tuple(labels.get(oid, ())),
            domain,
            tuple(found),
        ),
        required,
        default,
    )


def _read_indexes(connection: Connection, found: Mapping[int, Table]) -> None:
    for row in connection.execute(_INDEXES, (list(found),)):
        oid, name, method, unique, primary, valid, where, nulls, deferrable, constraint = row[:10]
        columns, texts, descending, opclasses = row[10:]
        parts = tuple(
            IndexPart(column, text, down, opclass)
            for column, text, down, opclass in zip(columns, texts, descending, opclasses, strict=False)
        )
        found[oid].indexes.append(
            Index(
                name,
                method,
                parts,
                unique,
                primary,
                where,
                tuple(columns[len(parts) :]),
                nulls,
                deferrable,
                constraint,
                valid,
            )
        )


def _read_constraints(connection: Connection, found: Mapping[int, Table]) -> None:
    for row in connection.execute(_CONSTRAINTS, (list(found),)):
        oid, kind, name, columns, schema, target, theirs, on_delete, on_update, deferrable, valid, text = row
        table = found[oid]
        if kind == "c":
            table.checks.append(Check(name, text, valid))
        elif kind == "x":
            table.exclusions = (*table.exclusions, name)
        else:
            table.foreign_keys.append(
                ForeignKey(
                    name,
                    tuple(columns),
                    (schema, target),
                    tuple(theirs),
                    _ACTIONS[on_delete],
                    _ACTIONS[on_update],
                    deferrable,
                    valid,
                )
            )
