"""Turns: callers of one process that want the same row form a queue, and one at a time has the turn.

A queue exists while a caller has its turn, so a caller that is alone costs two steps in a dictionary. Turns spare work and are
no protection: the guards of plans keep rows safe. So a queue that does not move can be left at any time.

An exception can strike a thread between any two bytecodes. So nothing here needs a lock: each step that decides something is
one operation on a list or a dictionary, which the interpreter carries out whole.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet

from keyweave.effects import Signal

_GLANCES: Final = 200_000
"""How often a call that leaves looks whether another thread has just given it something to do: for longer than the interpreter
lets a thread run."""


class Caller:
    """A call that waits in a queue, or has its turn.

    Attributes:
        signal: set when the call gets the turn, or has to look again.
        astray: whether its queue had ended before it could join it.
    """

    __slots__ = ("_undecided", "astray", "signal")

    def __init__(self) -> None:
        self.rest()

    def rest(self) -> None:
        """Begin to wait."""
        self.signal = Signal()
        self.astray = False
        self._undecided: list[None] = [None]

    def claim(self) -> bool:
        """Decide what becomes of a waiting call: it is given something to do, or it leaves. Only the first claim succeeds."""
        try:
            self._undecided.pop()
        except IndexError:
            return False
        return True

    def withdraw(self) -> bool:
        """Leave the queue; return False if the call has been given something to do meanwhile."""
        for _ in range(_GLANCES):
            if self.claim():
                return True
            if self.signal.is_set:
                return False
        return True  # the thread that had claimed it was interrupted

    def release_claim(self) -> None:
        """Let the call be claimed again."""
        self._undecided.append(None)


C = TypeVar("C", bound=Caller)


class Queue(Generic[C]):
    """The callers of one row.

    Attributes:
        waiting: those without a turn, in order of their arrival.
        first: those that come before them.
        turns: how many turns were given.
        ended: whether the last caller has left it.
    """

    # Most queues have one caller and end at once, so that they begin with nothing of their own but an empty deque.
    first: deque[C] | None = None
    turns = 0
    ended = False

    def __init__(self) -> None:
        self.waiting: Final[deque[C]] = deque()

    def next(self) -> C | None:
        """Claim the caller that comes next; None if none waits."""
        for callers in (self.first, self.waiting):
            while callers is not None:
                try:
                    caller = callers.popleft()
                except IndexError:
                    break
                if caller.claim():
                    self.turns += 1
                    return caller
        return None


Q = TypeVar("Q", bound=Queue[Any])


class Turns(Generic[Q]):
    """The queues of a store, by what they are for.

    Args:
        make: returns a new queue.
    """

    __slots__ = ("__weakref__", "_make", "_queues")

    def __init__(self, make: Callable[[], Q]) -> None:
        self._make: Final = make
        self._queues: Final[dict[Hashable, Q]] = {}
        _TURNS.add(self)

    def begin(self, name: Hashable) -> Q | None:
        """Take the turn, and return its queue; None if another caller has it."""
        if name in self._queues:
            return None
        mine = self._make()
        return mine if self._queues.setdefault(name, mine) is mine else None

    def join(self, name: Hashable, caller: Caller) -> tuple[Q, bool]:
        """Join a queue, and return it; and whether the caller has the turn at once."""
        while True:
            queue = self._queues.get(name)
            if queue is None:
                queue = self.begin(name)
                if queue is not None:
                    return queue, True
                continue
            queue.waiting.append(caller)
            if not queue.ended:
                return queue, False
            self.detach(name, queue)
            if not caller.claim():
                return queue, False
            caller.rest()

    def get(self, name: Hashable) -> Q | None:
        """Return the queue of a name, if there is one."""
        return self._queues.get(name)

    def end(self, name: Hashable, queue: Q) -> None:
        """End a queue in which no caller waits. Callers that join it at this moment join another one."""
        queue.ended = True
        if self._queues.get(name) is queue:
            self._queues.pop(name, None)
        while queue.waiting:
            caller = queue.next()
            if caller is not None:
                caller.astray = True
                caller.signal.set()

    def detach(self, name: Hashable, queue: Q) -> None:
        """Let later callers begin another queue."""
        if self._queues.get(name) is queue:
            self._queues.pop(name, None)

    def clear(self) -> None:
        """Forget every queue: a forked child has none of the threads that wait in them."""
        self._queues.clear()


class WriteQueue(Queue[Any]):
    """The callers that write one row together; see `keyweave.write.group`.

    Attributes:
        batch: what the callers of the next plan have done so far, or None.
        lost: batches in a row that other writers came before.
        current: the document that the last lost batch was refused with.
        outdated: whether the row has to be read, because what the process remembers of it is outdated.
        calling: whether a function of a caller runs.
        lock: holds the advisory lock of the row, or None.
    """

    batch: Any = None
    lost = 0
    current: bytes | None = None
    outdated = False
    calling = True
    lock: Any = None


class LockQueue(Queue[Caller]):
    """The transactions that lock one row; see `keyweave.read.lock`.

    Attributes:
        token: what the lock on the server holds, while the process has it; None otherwise.
        since: monotonic time at which the process acquired it.
        passed: how often it was passed on within the process since then.
        considerate: whether the next transaction is to let other processes go first.
    """

    token: str | None = None
    since = 0.0
    passed = 0
    considerate = False

    def begin(self, now: float) -> None:
        """Note that the process has acquired the lock on the server."""
        self.since, self.passed, self.considerate = now, 0, False


_TURNS: Final[WeakSet[Turns[Any]]] = WeakSet()


def _clear() -> None:
    for turns in list(_TURNS):
        turns.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_clear)
