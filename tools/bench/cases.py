"""Every case: all methods of the contract."""

from __future__ import annotations

from typing import Final

from tools.bench.case import Case
from tools.bench.cases_auth import AUTH
from tools.bench.cases_tasks import TASKS
from tools.bench.cases_workflows import WORKFLOWS

CASES: Final[tuple[Case, ...]] = (*AUTH, *WORKFLOWS, *TASKS)


def chosen(words: str) -> tuple[Case, ...]:
    """The cases whose name holds one of several words, separated by commas; all of them without a word.

    Raises:
        ValueError: there is none.
    """
    wanted = [word.strip() for word in words.split(",") if word.strip()]
    found = tuple(case for case in CASES if not wanted or any(word in case.name for word in wanted))
    if not found:
        raise ValueError(f"no case is called {words!r}")
    return found
