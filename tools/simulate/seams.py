"""What is replaced in the runtime while a run is played: chance that it takes from the system, and the size of a table.

Ids of ledgers, which plans have theirs from, and places in the memory of rows, come from the seed. The check of a namespace has a table for
millions of rows, which takes longer to allocate and to read than everything else in a run; a small one serves these few.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b
from types import SimpleNamespace, TracebackType
from typing import Any, Final
from zlib import crc32

from keyweave.integrity import survey
from keyweave.store import ledger, recent

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

    def __enter__(self) -> Seams:
        self._os = vars(ledger)["os"]
        vars(ledger)["os"] = SimpleNamespace(urandom=self._random)
        vars(recent)["hash"] = _stable_hash
        self._sizes = {name: vars(survey)[name] for name in _SIZES}
        vars(survey).update(_SIZES)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        vars(ledger)["os"] = self._os
        del vars(recent)["hash"]
        vars(survey).update(self._sizes)

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
