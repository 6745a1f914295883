"""The progress of a parent task's children, computed from counts by status."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from compozy_store import Status


class ParallelStrategy(StrEnum):
    """When a parent task is done, and how its status follows from its children's."""

    WAIT_ALL = "wait_all"
    FAIL_FAST = "fail_fast"
    BEST_EFFORT = "best_effort"
    RACE = "race"


class ProgressInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one parent's children.

    Attributes:
        running_count: children that are RUNNING, WAITING or PAUSED.
        status_counts: children by status, without statuses that do not occur.
        completion_rate: share of the children that succeeded, 0.0 to 1.0.
        failure_rate: share of the children that failed or timed out, 0.0 to 1.0.
    """

    total_children: int
    success_count: int
    failed_count: int
    canceled_count: int
    timed_out_count: int
    terminal_count: int
    running_count: int
    pending_count: int
    status_counts: dict[Status, int]
    completion_rate: float
    failure_rate: float

    @classmethod
    def of(cls, counts: Mapping[Status, int]) -> ProgressInfo:
        """The progress for `counts`, the number of children by status."""
        present = {status: number for status, number in counts.items() if number > 0}
        total = sum(present.values())
        success, failed = present.get(Status.SUCCESS, 0), present.get(Status.FAILED, 0)
        timed_out = present.get(Status.TIMED_OUT, 0)
        return cls(
            total_children=total,
            success_count=success,
            failed_count=failed,
            canceled_count=present.get(Status.CANCELED, 0),
            timed_out_count=timed_out,
            terminal_count=sum(number for status, number in present.items() if status.is_terminal),
            running_count=sum(
                present.get(status, 0) for status in (Status.RUNNING, Status.WAITING, Status.PAUSED)
            ),
            pending_count=present.get(Status.PENDING, 0),
            status_counts=present,
            completion_rate=success / total if total else 0.0,
            failure_rate=(failed + timed_out) / total if total else 0.0,
        )

    def has_failures(self) -> bool:
        """Whether a child is FAILED."""
        return self.failed_count > 0

    def is_all_complete(self) -> bool:
        """Whether every child is in a terminal status."""
        return self.terminal_count == self.total_children

    def is_complete(self, strategy: ParallelStrategy) -> bool:
        """Whether `strategy` has decided the parent's status: SUCCESS or FAILED."""
        return self.calculate_overall_status(strategy) in (Status.SUCCESS, Status.FAILED)

    def calculate_overall_status(self, strategy: ParallelStrategy) -> Status:
        """The parent's status under `strategy`. Each strategy tests the same conditions in its own order."""
        if self.total_children == 0:
            return Status.PENDING
        all_succeeded = self.success_count == self.total_children
        broken = self.failed_count + self.timed_out_count > 0
        running = self.running_count > 0
        match ParallelStrategy(strategy):
            case ParallelStrategy.WAIT_ALL:
                answers = (
                    (all_succeeded, Status.SUCCESS),
                    (running, Status.RUNNING),
                    (broken, Status.FAILED),
                )
            case ParallelStrategy.FAIL_FAST:
                answers = (
                    (broken, Status.FAILED),
                    (all_succeeded, Status.SUCCESS),
                    (running, Status.RUNNING),
                )
            case ParallelStrategy.BEST_EFFORT:
                ended = Status.SUCCESS if self.success_count else Status.FAILED
                answers = ((self.is_all_complete(), ended), (running, Status.RUNNING), (False, ended))
            case ParallelStrategy.RACE:
                answers = (
                    (self.success_count > 0, Status.SUCCESS),
                    (self.is_all_complete(), Status.FAILED),
                    (running, Status.RUNNING),
                )
        return next((status for holds, status in answers if holds), Status.PENDING)
