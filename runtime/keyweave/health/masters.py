"""The masters of a cluster that hold the groups of a namespace: each is examined, and what is wrong with one is a finding.

Imported where a store is on a cluster: probes of one server do without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

import msgspec

from keyweave.effects import Command, Flow, Reply, ServerError
from keyweave.exchange.ask import refusal_error
from keyweave.exchange.deadline import micros_of
from keyweave.health.connect import ask_once, facts_in, questions, skew
from keyweave.health.diagnose import diagnose, worst_first
from keyweave.health.facts import server_id
from keyweave.health.levels import Level, Standing, levels
from keyweave.health.limits import Limits
from keyweave.health.report import Finding, Health, Master
from keyweave.keyspace.keys import Partition
from keyweave.store.context import Context

_WEAKEST_LAST: Final = (Standing.TRUE, Standing.UNKNOWN, Standing.UNTRUE, Standing.REFUSED)


def all_masters(
    context: Context, first: Master, info: Reply, wall: Callable[[], float]
) -> Flow[tuple[Master, ...]]:
    """Return the masters that hold groups, in the order of the groups. One that holds several is there once.

    One exchange finds out which master holds each partition, a second one examines those that are not `first`.

    Args:
        first: the master of the first group, which is examined already.
        info: its reply to INFO.
        wall: this machine's clock, in seconds since 1970.

    Raises:
        StoreUnavailableError: or a subclass: a master does not answer.
    """
    partitions = context.keyspace.partitions()
    first_id = server_id(info) or first.groups[0]
    held: dict[str, list[Partition]] = {first_id: [partitions[0]]}
    for partition, name in zip(partitions[1:], (yield from servers(context, partitions[1:])), strict=True):
        held.setdefault(name or partition.group, []).append(partition)
    others = [name for name in held if name != first_id]
    # The questions begin with commands without a key, which go to the node of the key before them.
    asked: list[tuple[Command, ...]] = [
        (("EXISTS", held[name][0].clock), *questions(context, held[name][0])) for name in others
    ]
    before, started = wall(), context.monotonic()
    replies = (yield from ask_once(context, tuple(chain(*asked)))) if asked else []
    latency = context.monotonic() - started
    found = [msgspec.structs.replace(first, **_holding(held[first_id]))]
    for name, commands in zip(others, asked, strict=True):
        answers, replies = replies[1 : len(commands)], replies[len(commands) :]
        if isinstance(answers[1], ServerError):
            raise refusal_error(context, answers[1])
        facts = facts_in(answers)
        found.append(
            Master(
                **_holding(held[name]),
                serving=not isinstance(answers[0], ServerError) and not isinstance(answers[3], ServerError),
                clock_skew=skew(micros_of(answers[1]) / 1_000_000, before, before + latency),
                server=msgspec.structs.replace(facts, restrictions=first.server.restrictions),
            )
        )
    return tuple(found)


def servers(context: Context, partitions: Sequence[Partition]) -> Flow[list[str | None]]:
    """Return the id of the server that holds each partition, in one exchange; None where that is not known."""
    if not partitions:
        return []
    asked: list[Command] = [
        command for each in partitions for command in (("EXISTS", each.clock), ("INFO", "server"))
    ]
    replies = yield from ask_once(context, tuple(asked))
    return [
        None if isinstance(there, ServerError) else server_id(info)
        for there, info in zip(replies[0::2], replies[1::2], strict=True)
    ]


def _holding(partitions: Sequence[Partition]) -> dict[str, Any]:
    """Return the groups and partitions of a master as `Master` has them."""
    numbers: dict[str, tuple[int, ...]] = {}
    for each in partitions:
        numbers[each.group] = (*numbers.get(each.group, ()), each.index)
    return {"groups": tuple(numbers), "partitions": numbers}


def held_by(context: Context, master: Master) -> Partition:
    """Return a partition that a master holds."""
    group = master.groups[0]
    return context.keyspace.at(group, master.partitions[group][0])


def with_masters(health: Health, masters: Sequence[Master], limits: Limits, budget: int | None) -> Health:
    """Return the health of a namespace on a cluster: it serves if every master does, and each has its findings.

    Args:
        health: of the master of the first group.
        masters: all of them.
        limits: thresholds above which something is a finding.
        budget: bytes that the data of one master may take; the master's own limit if it is None.
    """
    places: dict[Finding, list[Master]] = {}
    for master in masters:
        here = msgspec.structs.replace(
            health,
            serving=master.serving,
            clock_skew=master.clock_skew,
            memory_budget=budget or master.server.max_memory or None,
            server=master.server,
        )
        for finding in diagnose(here, limits):
            places.setdefault(finding, []).append(master)
    found = [
        finding if len(where) == len(masters) else _at(where, finding) for finding, where in places.items()
    ]
    return msgspec.structs.replace(
        health,
        serving=all(master.serving for master in masters),
        clock_skew=max((master.clock_skew for master in masters), key=abs),
        masters=tuple(masters),
        findings=worst_first(found),
    )


def _at(masters: Sequence[Master], finding: Finding) -> Finding:
    return msgspec.structs.replace(finding, what=f"{_name(masters)}: {finding.what}")


def _name(masters: Sequence[Master]) -> str:
    """Return the name of masters: by their groups, with the numbers of partitions where another master has some of the group."""
    groups = dict.fromkeys(group for master in masters for group in master.groups)
    names = []
    for group in groups:
        numbers = sorted(number for master in masters for number in master.partitions.get(group, ()))
        names.append(group if numbers == [0] else f"{group} {' '.join(map(str, numbers))}")
    return f"Master of {', '.join(names)}"


def weakest_levels(context: Context, masters: Sequence[Master]) -> Flow[tuple[Level, ...]]:
    """Return what each level of durability means: a store has it if every master that holds its groups gives it.

    Raises:
        StoreUnavailableError: or a subclass: a master does not answer, or is loading.
    """
    found = []
    for master in masters:
        found.append((yield from levels(context, master.server, held_by(context, master))))
    return tuple(_weakest(masters, found))


def _weakest(masters: Sequence[Master], found: Sequence[tuple[Level, ...]]) -> Iterator[Level]:
    for same in zip(*found, strict=True):
        master, level = max(
            zip(masters, same, strict=True), key=lambda each: _WEAKEST_LAST.index(each[1].standing)
        )
        if all(other == level for other in same):
            yield level
        else:
            yield msgspec.structs.replace(level, meaning=f"{_name([master])}: {level.meaning}")
