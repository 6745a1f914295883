"""Work that is done for each partition on its own: some partitions of each master at the same time.

One process waits for all masters together instead of for one after another. No threads: what the partitions' flows ask goes to
all masters in one exchange. A partition whose work fails does not stop the others. On one server there is nothing to gain, so
there the partitions are done one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from keyweave.effects import Command, Flow, Reply, ServerError
from keyweave.errors import AuthenticationError, KeyweaveError, StoreUnavailableError
from keyweave.exchange.ask import ask
from keyweave.exchange.together import together_in_queues
from keyweave.keyspace.keys import Partition
from keyweave.keyspace.spread import slot_of
from keyweave.store.context import Context

T = TypeVar("T")

AT_ONCE: Final = 4
"""Most partitions of one master that are worked on at the same time."""

MOST: Final = 32
"""Most partitions of all masters that are worked on at the same time."""

_NAMED: Final = 5
"""Most partitions that an error names."""

_SLOTS: Final[Command] = ("CLUSTER", "SLOTS")
_UNKNOWN: Final = frozenset({"ERR", "NOPERM"})


class Master(NamedTuple):
    """Partitions that one master has.

    Attributes:
        name: its host and port; empty where it is not known, and on one server.
        partitions: in the order that was given.
    """

    name: str
    partitions: list[Partition]


class Failures:
    """Why the work in some partitions failed. It is skipped there from then on.

    Args:
        context: where the partitions are.
    """

    def __init__(self, context: Context) -> None:
        self._several: Final = context.clustered
        self._numbers: Final = context.keyspace.numbers
        self._errors: Final[dict[Partition, KeyweaveError]] = {}
        self._names: Final[dict[Partition, str]] = {}

    def __contains__(self, partition: Partition) -> bool:
        return partition in self._errors

    def __len__(self) -> int:
        return len(self._errors)

    @property
    def of_master(self) -> bool:
        """Whether a master could not be used."""
        return any(map(concerns_master, self._errors.values()))

    def add(self, partition: Partition, error: KeyweaveError, master: str) -> None:
        """Note why the work in a partition failed, and which master has it."""
        self._errors.setdefault(partition, error)
        self._names.setdefault(partition, f" on {master}" if master else "")

    def raise_first(self) -> None:
        """Raise the first error, if there is one. It names the partitions in which the work failed; one server has no need of that.

        Raises:
            KeyweaveError: of the type of the first one.
        """
        if not self._errors:
            return
        error = next(iter(self._errors.values()))
        if self._several:
            error.args = (f"{self._places()}: {error}", *error.args[1:])
        raise error

    def _places(self) -> str:
        names = [self._name(partition) for partition in self._errors]
        rest = len(names) - _NAMED
        return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")

    def _name(self, partition: Partition) -> str:
        master = self._names[partition]
        if self._numbers.get(partition.group, 1) == 1:
            return f"group {partition.group}{master}"
        return f"partition {partition.index} of the group {partition.group}{master}"


def by_master(context: Context, partitions: Sequence[Partition]) -> Flow[list[Master]]:
    """Return partitions by the masters that have them now; on one server in one list.

    A partition that no master is known to have is alone. If the cluster does not say who has what, all are in one list.
    """
    if not context.clustered or len(partitions) <= 1:
        return [Master("", list(partitions))]
    (reply,) = yield from ask(context, (_SLOTS,), tolerated=_UNKNOWN)
    if type(reply) is ServerError:
        return [Master("", list(partitions))]
    found: dict[object, Master] = {}
    for partition in partitions:
        address = _address(reply, partition)
        name = f"{address[0].decode()}:{address[1]}" if address is not None and address[0] else ""
        found.setdefault(address or partition, Master(name, [])).partitions.append(partition)
    return list(found.values())


def _address(reply: Reply, partition: Partition) -> tuple[bytes, int] | None:
    """Return host and port of the master of a partition, as a node names them: its own host may be empty."""
    slot = slot_of(partition.tag[1 : partition.tag.index("}")].encode())
    for first, last, master, *_ in reply:
        if first <= slot <= last:
            return master[0] or b"", int(master[1])
    return None


def each_partition(
    context: Context,
    partitions: Sequence[Partition],
    work: Callable[[Partition], Flow[T]],
    failures: Failures,
    at_once: int = AT_ONCE,
) -> Flow[dict[Partition, T]]:
    """Do the work of each partition, and return the results of those whose work came to an end.

    On a cluster some partitions of each master are worked on at the same time, and up to `MOST` of all masters.

    Args:
        work: makes the flow of one partition.
        failures: gets the partitions whose work fails; those that it has are left out. When a master cannot be used, the rest of
            its partitions fail with the first one, without being asked.
        at_once: most partitions of one master that are worked on at the same time.
    """
    masters = yield from by_master(context, [each for each in partitions if each not in failures])
    results: dict[Partition, T] = {}
    flows = [list(_guarded(master, work, results, failures)) for master in masters]
    if context.clustered:
        yield from together_in_queues(context, flows, at_once, MOST)
    else:
        for flow in flows[0]:
            yield from flow
    return {partition: results[partition] for partition in partitions if partition in results}


def _guarded(
    master: Master,
    work: Callable[[Partition], Flow[T]],
    results: dict[Partition, T],
    failures: Failures,
) -> Iterator[Flow[None]]:
    """Yield the flows of the partitions of one master."""
    lost: list[KeyweaveError] = []

    def guarded(partition: Partition) -> Flow[None]:
        if lost:
            failures.add(partition, lost[0], master.name)
            return
        try:
            results[partition] = yield from work(partition)
        except KeyweaveError as error:
            failures.add(partition, error, master.name)
            if concerns_master(error):
                lost.append(error)

    for partition in master.partitions:
        yield guarded(partition)


def concerns_master(error: KeyweaveError) -> bool:
    """Return whether an error says that a master cannot be used, so that its other partitions need not be tried."""
    return isinstance(error, StoreUnavailableError) and not isinstance(error, AuthenticationError)
