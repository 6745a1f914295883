"""Conditions of SQL and the expressions made of them agree on every row, null included: PostgreSQL is the judge."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final

import psycopg
import pytest

from keyweave.adopt.condition import check_of, where_of
from keyweave.adopt.design import FieldDesign
from keyweave.adopt.sql import UnknownSqlError, parse
from keyweave_generator.expression import compile_expression
from keyweave_generator.load import load_sources
from tests.oracle.server import session_dsn

COLUMNS: Final = {
    "a": ("int", "int", True),
    "b": ("int", "int", False),
    "t": ("text", "string", True),
    "v": ("varchar(9)", "string", False),
    "ok": ("bool", "bool", True),
    "no": ("bool", "bool", False),
    "d": ("date", "date", True),
    "n": ("numeric(6,2)", "decimal", True),
    "f": ("float8", "float", True),
}
CONDITIONS: Final = (
    "a > 1",
    "not a > 1",
    "a <> b",
    "not (a = 1 or b = 2)",
    "not (a = 1 and not b = 2)",
    "a in (1, 2)",
    "a not in (1, 2)",
    "not (a not in (1, 2) or ok)",
    "t in ('x', 'it''s') or t is null",
    "not (t is null)",
    "t <> '' and length(t) < 3",
    "not (length(t) < 3)",
    "v = 'x' or v in ('it''s', 'y')",
    "ok",
    "not ok",
    "ok is true",
    "ok is not true",
    "not (ok is not true)",
    "ok is false",
    "ok is not false or a is null",
    "ok = true and not no",
    "(ok or no) and not (ok and no)",
    "a between 1 and b",
    "not (a between 1 and b)",
    "a + b * 2 - 1 > 3",
    "not (a + b > 3)",
    "a * b = 4 or a - b < 0",
    "d >= '2020-01-02'",
    "not (d < '2020-01-02' and a > 1)",
    "n > 0.5",
    "n * 2 <= 3 and n <> 1.50",
    "f < 2.5 or not (f < 1.5)",
    "n > b or a > n",
    "null or a > 1",
    "b is null or a = 2",
    "b is not null and a = 2",
    "true and a = 1",
    "not (not (not (a = 1)))",
)
UNKNOWN: Final = (
    "t like 'x%'",
    "t ~ 'x'",
    "lower(t) = 'x'",
    "a / 2 > 1",
    "t < 'm'",
    "coalesce(a, 1) > 0",
    "(a is null) = (b is null)",
    "f > n",
    "a = any (select 1)",
    "extract(year from d) = 2020",
    "a::text = '1'",
    "case when a = 1 then true else false end",
    "t = E'a\\nb'",
)
ROWS: Final = """
select a, b, t, v, ok, no, d, n, f
from unnest(array[null, 1, 2, 5]) a, unnest(array[1, 2]) b, unnest(array[null, '', 'x', 'it''s']) t, unnest(array['x', 'y']) v,
     unnest(array[null, true, false]) ok, unnest(array[true, false]) no
cross join lateral (select case when a is null then null else date '2020-01-01' + a - 1 end d,
                           case when a = 5 then null else a * 0.75 end n, case when t = '' then null else b * 1.5 end f) more
"""


def field(name: str) -> FieldDesign | None:
    if name not in COLUMNS:
        return None
    _, kind, nullable = COLUMNS[name]
    attributes: dict[str, Any] = {"type": kind, **({"optional": True} if nullable else {})}
    return FieldDesign(attributes, [], name, name, kind, nullable)


def fields_of_the_schema() -> Any:
    lines = "".join(
        f"  {name}: {{type: {kind}{', optional: true' if nullable else ''}{', digits: 6, places: 2' if name == 'n' else ''}}}\n"
        for name, (_, kind, nullable) in COLUMNS.items()
    )
    package = (
        "package: c_store\nnamespace: {app: c, version: v1, environment: t, tenant: t}\ngroups: {all: {}}\n"
    )
    entity = f"entity: Row\ngroup: all\nkey: id\nfields:\n  id: {{type: id}}\n{lines}"
    (row,) = load_sources({"package.yaml": package, "row.yaml": entity}).entities
    return {each.name: each for each in row.fields}


@pytest.fixture(scope="module")
def judged() -> tuple[list[dict[str, Any]], list[str], list[list[Any]]]:
    """Rows, each condition as PostgreSQL prints it, and what it says about each row."""
    with psycopg.connect(session_dsn()) as connection:
        connection.execute(f"create temp table r as {ROWS}")
        for name, (_, _, nullable) in COLUMNS.items():
            if not nullable:
                connection.execute(f"alter table r alter column {name} set not null")  # type: ignore[call-overload]
        for number, text in enumerate(CONDITIONS):
            connection.execute(f"alter table r add constraint c{number} check ({text}) not valid")  # type: ignore[call-overload]
        printed = [
            row[0]
            for row in connection.execute(
                "select pg_get_expr(conbin, conrelid) from pg_constraint where conrelid = 'r'::regclass and contype = 'c' "
                "order by substr(conname, 2)::int"
            )
        ]
        said = [list(row) for row in connection.execute(f"select {', '.join(printed)} from r")]  # type: ignore[call-overload]
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in connection.execute("select * from r")]
        connection.rollback()
    return rows, printed, said


@pytest.mark.parametrize("number", range(len(CONDITIONS)), ids=CONDITIONS)
def test_a_condition_has_the_same_rows(
    number: int, judged: tuple[list[dict[str, Any]], list[str], list[list[Any]]]
) -> None:
    rows, printed, said = judged
    fields = fields_of_the_schema()
    check, lacks = check_of(parse(printed[number]), field)
    assert not lacks
    where = where_of(parse(printed[number]), field)
    compiled = {text: _compiled(text, fields) for text in (check, where)}
    for row, answers in zip(rows, said, strict=True):
        record = SimpleNamespace(**row)
        assert compiled[check](record) is (answers[number] is not False), (check, row)
        assert compiled[where](record) is (answers[number] is True), (where, row)


def _compiled(expression: str, fields: Any) -> Any:
    if not expression:
        return lambda _: True
    made = compile_expression(expression, fields, {}, wants="bool")
    scope: dict[str, Any] = {
        name: getattr(__import__(module, fromlist=[name]), name) for module, name in made.imports
    }
    return eval(f"lambda record: bool({made.python})", scope)


@pytest.mark.parametrize("text", UNKNOWN)
def test_what_the_language_has_no_words_for_is_refused(text: str) -> None:
    with pytest.raises(UnknownSqlError):
        where_of(parse(text), field)
