"""The members of a cluster, as one of its nodes sees them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """A line of CLUSTER NODES.

    Attributes:
        id: of the node.
        port: on which it listens for clients.
        flags: such as `master`, `replica`, `fail`, `fail?` and `handshake`; Redis's word for a replica is replaced.
        primary: the id of the master that it replicates; empty of a master.
        epoch: its configuration epoch; of two masters that claim a slot, the one with the higher epoch has it.
        connected: whether the node that was asked has a link to it.
        slots: ranges of slots that it serves, first and last.
        moving: slots that it imports or migrates; a node says that of itself only.
    """

    id: str
    port: int
    flags: frozenset[str]
    primary: str
    epoch: int
    connected: bool
    slots: tuple[tuple[int, int], ...]
    moving: tuple[int, ...]

    @property
    def healthy(self) -> bool:
        """Whether the node that was asked reaches it."""
        return self.connected and not self.flags & {"fail", "fail?", "handshake", "noaddr"}

    @property
    def is_master(self) -> bool:
        """Whether it is a master."""
        return "master" in self.flags

    def serves(self, slot: int) -> bool:
        """Return whether it owns a slot."""
        return any(first <= slot <= last for first, last in self.slots)


def parse_members(text: str) -> dict[str, Member]:
    """Return the members of a reply of CLUSTER NODES, by their ids."""
    return {member.id: member for member in map(_member, text.splitlines())}


def _member(line: str) -> Member:
    identity, address, flags, primary, _, _, epoch, link, *slots = line.split()
    port = address.partition("@")[0].rpartition(":")[2]
    return Member(
        id=identity,
        port=int(port),
        flags=frozenset(flags.replace("slave", "replica").split(",")) - {"myself"},
        primary="" if primary == "-" else primary,
        epoch=int(epoch),
        connected=link == "connected",
        slots=tuple(_range(words) for words in slots if not words.startswith("[")),
        moving=tuple(int(words[1:].partition("-")[0]) for words in slots if words.startswith("[")),
    )


def _range(words: str) -> tuple[int, int]:
    first, _, last = words.partition("-")
    return int(first), int(last or first)
