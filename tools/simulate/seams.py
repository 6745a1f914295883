"""What is replaced in the runtime while a run is played: chance that it takes from the system, and the size of a table.

Whose effects a plan has is noted, where callers of one process write together.

Ids of ledgers, which plans have theirs from, and places in the memory of rows, come from the seed. The check of a namespace has a table for
millions of rows, which takes longer to allocate and to read than everything else in a run; a small one serves these few.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b
from types import SimpleNamespace, TracebackType
from typing import Any, Final
from zlib import crc32

from keyweave.changes.unsettled import Fate
from keyweave.exchange.apply import Attempt, Sending
from keyweave.integrity import survey
from keyweave.store import ledger, recent
from keyweave.write import group
from keyweave.write.batch import Batch, Member, Task, Write

_ROWS: Final = 1 << 12

_SIZES: Final[dict[str, Any]] = {
    "_SUMS": _ROWS,
    "_INDEX": _ROWS - 1,
    "_BLOCK": _ROWS,
    "_ZEROS": array("Q", bytes(8 * _ROWS)),
}


class Seams:
    """Ids of ledgers and of plans, and places in the memory of rows, depend on the seed alone while this is entered.

    Args:
        seed: of the run.
        world: whose `active` task names the ids.
    """

    def __init__(self, seed: int, world: Any) -> None:
        self._seed: Final = seed
        self._world: Final = world
        self._others = 0
        self._callers: dict[int, tuple[Member, str]] = {}
        self._sharers: tuple[str, ...] = ()

    def __enter__(self) -> Seams:
        self._os = vars(ledger)["os"]
        vars(ledger)["os"] = SimpleNamespace(urandom=self._random)
        vars(recent)["hash"] = _stable_hash
        self._sizes = {name: vars(survey)[name] for name in _SIZES}
        vars(survey).update(_SIZES)
        self._group = {name: vars(group)[name] for name in ("Member", "Sending")}
        vars(group).update(Member=self._member, Sending=self._sending)
        self._finish = Batch.finish
        finish = self._finish

        def noting(self_: Any, context: Any, entity: Any) -> None:
            finish(self_, context, entity)
            self._sharers = tuple(self._callers[id(member)][1] for member in self_.writers)

        setattr(Batch, "finish", noting)  # noqa: B010 - a method cannot be assigned to
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        vars(ledger)["os"] = self._os
        del vars(recent)["hash"]
        vars(survey).update(self._sizes)
        vars(group).update(self._group)
        setattr(Batch, "finish", self._finish)  # noqa: B010 - a method cannot be assigned to

    def _member(self, write: Write, task: Task) -> Member:
        """Make a caller of a batch, and note whose it is."""
        member = Member(write, task)
        process, number, operation = self._world.active.name
        self._callers[id(member)] = member, f"{process}-{number}-{operation}"
        return member

    def _sending(self, *commands: Any, fate: Fate) -> Sending:
        """Make the plan of a batch, which notes whose effects it has."""
        shared, sharers = self._world.history.shared, self._sharers

        class Noting(Sending):
            """Notes the op of its plan."""

            def __setattr__(self, name: str, value: Any) -> None:
                super().__setattr__(name, value)
                if name == "attempt" and isinstance(value, Attempt):
                    shared[value.plan.op.encode()] = sharers

        return Noting(*commands, fate=fate)

    def _random(self, size: int) -> bytes:
        task = self._world.active
        if task is None:
            self._others += 1
            name: tuple[Any, ...] = ("outside", self._others)
        else:
            task.ops += 1
            name = (*task.name, task.process.life, task.ops)
        return blake2b(f"{self._seed} {name}".encode(), digest_size=size).digest()


def _stable_hash(place: tuple[str, str]) -> int:
    return crc32(":".join(place).encode())
