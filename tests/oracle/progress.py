"""Progress of a parent task, counted by PostgreSQL."""

from __future__ import annotations

import json

from compozy_engine.progress import ProgressInfo
from compozy_store import Status

from .rows import Row

COUNTS = """
    with counts as (
        select
            count(*) as total,
            count(*) filter (where status = 'SUCCESS') as success,
            count(*) filter (where status = 'FAILED') as failed,
            count(*) filter (where status = 'CANCELED') as canceled,
            count(*) filter (where status = 'TIMED_OUT') as timed_out,
            count(*) filter (where status in ('SUCCESS', 'FAILED', 'CANCELED', 'TIMED_OUT')) as terminal,
            count(*) filter (where status in ('RUNNING', 'WAITING', 'PAUSED')) as running,
            count(*) filter (where status = 'PENDING') as pending
        from task_states
        where parent_state_id = $1
    ),
    statuses as (
        select coalesce(jsonb_object_agg(status, number), '{}') as by_status
        from (select status, count(*) as number from task_states where parent_state_id = $1 group by status) as each
    )
    select
        *,
        coalesce(success::float8 / nullif(total, 0), 0) as completion_rate,
        coalesce((failed + timed_out)::float8 / nullif(total, 0), 0) as failure_rate
    from counts, statuses
"""


def progress_of(row: Row) -> ProgressInfo:
    """The progress for one row of counts."""
    return ProgressInfo(
        total_children=row["total"],
        success_count=row["success"],
        failed_count=row["failed"],
        canceled_count=row["canceled"],
        timed_out_count=row["timed_out"],
        terminal_count=row["terminal"],
        running_count=row["running"],
        pending_count=row["pending"],
        status_counts={Status(name): number for name, number in json.loads(row["by_status"]).items()},
        completion_rate=row["completion_rate"],
        failure_rate=row["failure_rate"],
    )
