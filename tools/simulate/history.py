"""What clients did and learned. Checkers judge a run by this and by the final state alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

ANY: Final = None
"""A touch that does not say what it read, or that wrote nothing."""
ABSENT: Final = "-"
"""There was no row, or the row was deleted."""
PRESENT: Final = "+"
"""There was some row."""


class Touch(NamedTuple):
    """What one operation read from and wrote to one register, in one atomic step.

    Attributes:
        key: of the register.
        read: the token that was there, ABSENT, PRESENT, ANY, or `!token` for any other one.
        write: the token that it wrote, ABSENT for a deletion, or ANY for nothing.
    """

    key: str
    read: str | None
    write: str | None


class Listed(NamedTuple):
    """A list that an operation read, and whether it appended its token to it."""

    key: str
    tokens: tuple[str, ...]
    appended: bool


class Settlement(NamedTuple):
    """What `store.outcome` said of a write whose outcome was unknown.

    Attributes:
        answer: the client's ledger, the slot and the number of the plan, as the server keeps them.
        applied: whether the write happened; if not, it never will.
    """

    answer: tuple[bytes, bytes, bytes]
    applied: bool


@dataclass(slots=True)
class Act:
    """One operation as it went.

    Attributes:
        token: unique; everything that the operation writes carries it.
        kind: of the menu.
        arguments: of its program.
        who: process and task.
        began, ended: ticks of the history; `ended` is None while it runs, and for ever when its client died.
        began_at, ended_at: virtual microseconds.
        outcome: `ok`, `refused` (nothing was written), `unknown`, `crashed` or `cancelled`; empty while it runs.
        error: what it ended with.
        promised: its latest error promises that nothing was written.
        touches: on registers, of its latest try.
        earlier: touches of its other tries, which may have been carried out and lost with a tail.
        lists: that its latest try read.
        tries: how often its closure or function ran.
        paused: virtual microseconds that its program waited for reasons of its own.
        doubts: exchanges that failed after they may have reached the server.
        finding: what is wrong with an answer, in words.
        calls: of repositories, each with a budget of its own; 0 for an operation without one.
        answered_at: virtual microseconds at which its calls ended, when it was settled afterwards.
        settled: what the client found out about an unknown outcome.
    """

    token: str
    kind: str
    arguments: tuple[Any, ...]
    who: tuple[int, int]
    began: int
    began_at: int
    ended: int | None = None
    ended_at: int = 0
    outcome: str = ""
    error: BaseException | None = None
    touches: list[Touch] = field(default_factory=list)
    earlier: list[Touch] = field(default_factory=list)
    lists: list[Listed] = field(default_factory=list)
    tries: int = 0
    paused: int = 0
    doubts: int = 0
    finding: str = ""
    calls: int = 0
    answered_at: int | None = None
    settled: Settlement | None = None

    def begin_try(self) -> None:
        """Forget what an earlier try of a closure or function saw."""
        self.tries += 1
        self.earlier += self.touches
        self.touches = []
        self.lists = []

    def touch(self, key: str, read: str | None, write: str | None = ANY) -> None:
        """Record what is read from, and written to, a register."""
        self.touches.append(Touch(key, read, write))

    @property
    def operation(self) -> str:
        """The token of the operation that this is, or that this is a row of."""
        return self.token.partition(".")[0]

    @property
    def done(self) -> bool:
        """Whether the caller learned that it happened."""
        return self.outcome == "ok"

    @property
    def maybe(self) -> bool:
        """Whether it may or may not have happened, as far as the caller knows."""
        return self.outcome in ("unknown", "crashed", "cancelled")


class Loss(NamedTuple):
    """A tail of the server's file that was lost.

    Attributes:
        tick: of the history.
        tokens: of the operations whose changes were lost, those of locks included.
        written: of the operations that had written their tokens.
        registers: the tokens that registers hold afterwards.
        kept: how many steps of the file are left.
        revisions: of the documents in the lost steps.
        answers: of applied plans in the lost steps: ledger, slot and number.
        applied: tokens of the operations that made these plans.
    """

    tick: int
    tokens: frozenset[str]
    written: frozenset[str]
    registers: dict[str, str]
    kept: int
    revisions: frozenset[bytes]
    answers: frozenset[tuple[bytes, bytes, bytes]]
    applied: frozenset[str]


@dataclass(slots=True)
class History:
    """Every operation of a run, and every loss, in order of their ticks.

    Attributes:
        shared: the operations whose effects a plan has, by its op, where several tasks of a process wrote together.
    """

    acts: list[Act] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    shared: dict[bytes, tuple[str, ...]] = field(default_factory=dict)
    ticks: int = 0

    def tick(self) -> int:
        """The next moment in the order of everything."""
        self.ticks += 1
        return self.ticks

    @property
    def lost(self) -> frozenset[str]:
        """Tokens of operations whose changes were lost at least once."""
        return frozenset(token for loss in self.losses for token in loss.tokens)

    def undone(self, act: Act) -> bool:
        """Whether an operation was refused after one of its tries was carried out and lost with a tail.

        Its retry met the history that survived, in which it had not been carried out.
        """
        return (
            act.outcome == "refused"
            and (act.doubts > 0 or any(act.operation in tokens for tokens in self.shared.values()))
            and any(act.operation in loss.applied for loss in self.losses)
        )
