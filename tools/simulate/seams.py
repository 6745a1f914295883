"""The two places where the runtime takes chance from the system, replaced by the seed while a run is played."""

from __future__ import annotations

from hashlib import blake2b
from types import SimpleNamespace, TracebackType
from typing import Any, Final
from zlib import crc32

from keyweave.changes import plan
from keyweave.store import recent


class Seams:
    """Ids of plans and places in the memory of rows depend on the seed alone while this is entered.

    Args:
        seed: of the run.
        world: whose `active` task names the ids.
    """

    def __init__(self, seed: int, world: Any) -> None:
        self._seed: Final = seed
        self._world: Final = world
        self._others = 0

    def __enter__(self) -> Seams:
        self._os = vars(plan)["os"]
        vars(plan)["os"] = SimpleNamespace(urandom=self._random)
        vars(recent)["hash"] = _stable_hash
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        vars(plan)["os"] = self._os
        del vars(recent)["hash"]

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
