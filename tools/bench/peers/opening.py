"""Which sides can take part, and how they are opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Final

from tools.bench.peers.hand_side import HandSide
from tools.bench.peers.keyweave_side import KeyweaveSide
from tools.bench.peers.om_side import RedisOmSide
from tools.bench.peers.rom_side import RomSide
from tools.bench.peers.side import Place, Side

SIDES: Final[tuple[type[Side], ...]] = (KeyweaveSide, RedisOmSide, RomSide, HandSide)
"""The first one is ours."""


def present(search: bool) -> tuple[list[type[Side]], dict[str, str]]:
    """The sides that can take part, and the reasons why others cannot.

    Args:
        search: whether the server has search.
    """
    missing: dict[str, str] = {}
    for side in SIDES:
        absent = [name for name in side.needs if find_spec(name) is None]
        if absent:
            missing[side.name] = f"{absent[0]} is not installed: `make peers` installs it"
        elif side.search and not search:
            missing[side.name] = "the server has no search module: `make peers` installs one that has"
    return [side for side in SIDES if side.name not in missing], missing


@contextmanager
def opened(kinds: Sequence[type[Side]], socket: str, namespace: str) -> Iterator[list[Side]]:
    """Open sides, each in a namespace of its own."""
    with ExitStack() as stack:
        sides = []
        for kind in kinds:
            side = kind(place(kind, socket, namespace))
            stack.callback(side.close)
            sides.append(side)
        yield sides


def place(kind: type[Side], socket: str, namespace: str) -> Place:
    """Where a side keeps its rows in a namespace that all sides share."""
    return Place(socket, f"{namespace}-{kind.__name__.removesuffix('Side').lower()}")
