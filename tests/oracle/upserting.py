"""The statements that write whole workflow and task states."""

from __future__ import annotations

from collections.abc import Sequence

from .rows import JSON, MANAGED, TASK_COLUMNS, WORKFLOW_COLUMNS

TOUCH = """updated_at = greatest({at}, {table}.updated_at + interval '1 microsecond'), touched = nextval('touches')"""
"""Every write has a later time than the write before it, even if it waited for that write or the clock did not advance."""


def _upsert(table: str, columns: Sequence[str]) -> str:
    """INSERT … ON CONFLICT DO UPDATE of everything except created_at. The last argument is a test's time, or null.

    Both times of a new row are equal, so the time is read once, in a subquery.
    """
    written = [name for name in columns if name not in MANAGED]
    values = [
        f"${number}::jsonb" if name in (*JSON, "usage") else f"${number}::text"
        for number, name in enumerate(written, 1)
    ]
    replaced = [f"{name} = excluded.{name}" for name in written[1:]]
    return f"""
        insert into {table} ({", ".join(written)}, created_at, updated_at)
        select {", ".join(values)}, moment.at, moment.at
        from (select coalesce(${len(written) + 1}::timestamptz, clock_timestamp()) as at offset 0) as moment
        on conflict ({written[0]}) do update set
            {", ".join(replaced)}, {TOUCH.format(at="excluded.updated_at", table=table)}
        returning created_at, updated_at
    """


UPSERT_WORKFLOW = _upsert("workflow_states", WORKFLOW_COLUMNS)
UPSERT_TASK = _upsert("task_states", TASK_COLUMNS)


def update(table: str, key: str, **values: str) -> str:
    """UPDATE of one row: its key is $1, a test's time or null $2, and `values` map columns to expressions."""
    assignments = [f"{name} = {value}" for name, value in values.items()]
    touch = TOUCH.format(at="coalesce($2::timestamptz, clock_timestamp())", table=table)
    return f"update {table} set {', '.join(assignments)}, {touch} where {key} = $1 returning *"
