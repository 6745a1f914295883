"""Every checker, one behind another, over a run that has come to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.simulate.judge.check_cycles import check_cycles
from tools.simulate.judge.check_deadlines import check_deadlines
from tools.simulate.judge.check_drift import check_drift
from tools.simulate.judge.check_lateness import check_lateness
from tools.simulate.judge.check_outcomes import check_outcomes
from tools.simulate.judge.check_promises import check_promises
from tools.simulate.judge.check_registers import check_registers
from tools.simulate.judge.check_sums import check_sums
from tools.simulate.judge.rows import rows_of

if TYPE_CHECKING:
    from tools.simulate.run import Run


def judge(run: Run) -> int:
    """Judge a run; violations are reported to it. Returns how many histories were too long to decide."""
    check_drift(run)
    rows = rows_of(run)
    check_sums(run, rows)
    broken = check_promises(run, rows)
    check_cycles(run, rows)
    check_deadlines(run)
    check_lateness(run)
    check_outcomes(run)
    return check_registers(run, rows, broken)
