"""The workflow engine's repositories for users and API keys, executions, and tasks, built on Keyweave."""

from __future__ import annotations

from compozy_engine.ids import new_id

from .engine import Engine
from .filters import TaskFilter, WorkflowFilter
from .progress import ParallelStrategy, ProgressInfo
from .workflows import Workflow

__all__ = [
    "Engine",
    "ParallelStrategy",
    "ProgressInfo",
    "TaskFilter",
    "Workflow",
    "WorkflowFilter",
    "new_id",
]
