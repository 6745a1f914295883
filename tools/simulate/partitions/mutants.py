"""Faults planted in the protocol as whole calls use it, each of which the simulator has to find."""

from __future__ import annotations

import time
from typing import Final

from tools.simulate.mutants import Mutant, planted
from tools.simulate.partitions.arena import spread
from tools.simulate.partitions.run import play
from tools.simulate.partitions.scenario import first_number, scenario
from tools.simulate.run import Violation

_OF_A_REPARTITION: Final = (
    "lua:carry",
    "lua:double",
    "lua:announce",
    "keyweave.repartition.",
    "keyweave.homes.misplaced:",
    "keyweave.exchange.lease:",
)
"""How the places begin that only a repartition uses."""

MUTANTS: Final = (
    Mutant(
        "an insert takes a home over without a fence",
        "keyweave.homes.claim:claim",
        "fence(context, thing, home, receipt)",
        "fence(context, thing, home._replace(epoch=0), receipt)",
    ),
    Mutant(
        "the epoch is not compared",
        "lua:apply",
        "(not highest or highest >= tonumber(ARGV[at + 2])) and 'FENCED'",
        "false",
    ),
    Mutant(
        "the plan of an insert does not name its epochs",
        "keyweave.commit.homed:commit_homed",
        "home.epoch, key)",
        "home.epoch + 10**15, key)",
    ),
    Mutant(
        "a home is removed before its row is deleted, without a fence",
        "keyweave.commit.homed:commit_homed",
        "        begun = begin(context, partition)\n",
        "        from keyweave.exchange.ask import ask\n"
        "        gone = [thing for change in changes for thing in leaving(change)]\n"
        "        if gone:\n"
        "            yield from ask(context, tuple(\n"
        "                ('HDEL', each.at(context).homes(each.entity.name, each.unique), each.value) for each in gone))\n"
        "        begun = begin(context, partition)\n",
    ),
    Mutant(
        "the new unique value of a row that is replaced claims no home",
        "keyweave.homes.home:arriving",
        "    if entity.uniques:\n",
        "    if entity.uniques and change.old is None:\n",
    ),
    Mutant(
        "the key of a new row claims no home",
        "keyweave.homes.home:arriving",
        "if change.old is None and not is_located(entity) else []",
        "if False else []",
    ),
    Mutant(
        "an insert may arrive at any time, also after the fence of its epoch has ended",
        "keyweave.commit.homed:commit_homed",
        "begun.until = until",
        "begun.until = until + 10**12",
    ),
    Mutant(
        "rows of a bulk write claim no homes when they are sent one by one",
        "keyweave.commit.commit:commit_each",
        "if context.homing:",
        "if False:",
    ),
    Mutant(
        "a write that changes unique values is sent packed, without homes",
        "keyweave.write.put:_stays",
        "return not entity.uniques and getattr",
        "return getattr",
    ),
    Mutant(
        "a home that a delete leaves is removed without a fence",
        "keyweave.homes.claim:vacate",
        "fence(context, thing, home, receipt)",
        "fence(context, thing, home._replace(epoch=0), receipt)",
    ),
    Mutant(
        "a remembered partition without the row counts as no row",
        "keyweave.partitioned.router:PartitionRouter.row",
        "if not _is_nothing(found):",
        "if True:",
    ),
    Mutant(
        "a remembered row of another partition decides whether an upsert is refused",
        "keyweave.write.save:_upsert_alone",
        "if stored is not None and context.homing and moves(codec.snapshot_of(stored), prepared):",
        "if False:",
    ),
    Mutant(
        "an obstacle in another partition counts as removed, and its home is taken over",
        "lua:fence_home",
        "present = redis.call('EXISTS', place) == 1",
        "present = false",
    ),
    Mutant(
        "a value that is there passes for gone",
        "lua:fence_home",
        "present = redis.call('HGET', place, ARGV[2])",
        "present = false",
    ),
    Mutant(
        "the home is replaced without comparing",
        "lua:claim_home",
        "if home and home ~= ARGV[3] then",
        "if home and ARGV[3] == '' then",
    ),
    Mutant(
        "the home is removed without comparing",
        "lua:release_home",
        "if home ~= ARGV[2] then",
        "if not home then",
    ),
    Mutant(
        "the clocks of servers are not read when a store is opened",
        "keyweave.exchange.handshake:_read_with_clocks",
        "context.clock(partition).set(micros_of(time))",
        "pass",
    ),
    Mutant(
        "a sweep leaves homes without a row",
        "keyweave.expiry.sweep:_sweep_all",
        "yield from remove_vacant(context, failures)",
        "pass",
    ),
    Mutant(
        "what fills a twin may arrive behind what was sent after it",
        "lua:carry",
        "batch < tonumber(redis.call('HGET', KEYS[2], suffix) or 0)",
        "false",
    ),
    Mutant(
        "a doubling that has ended begins again in one partition",
        "lua:double",
        "or begins and number == tonumber(ARGV[1])",
        "",
    ),
    Mutant(
        "what has moved is removed without comparing",
        "keyweave.repartition.copy:clean",
        'step.add("same", each.key, row.head)',
        "pass",
    ),
    Mutant(
        "rows change while the last of them are copied",
        "keyweave.repartition.grow:_hand_over",
        "pair.frozen = now + int(still * (attempt + 1) * 1e6)",
        "pair.frozen = 0",
    ),
    Mutant(
        "what has changed is not copied before the twin has the rows",
        "keyweave.repartition.grow:_hand_over",
        "while (yield from drain(context, pair, locator)):",
        "while False:",
    ),
    Mutant(
        "rows that have moved are found by their keys",
        "keyweave.homes.misplaced:remove_misplaced",
        "if not things or",
        "if reading or not things or",
    ),
    Mutant(
        "a store does not read the numbers of partitions again",
        "keyweave.exchange.lease:Lease.renew",
        "return learn_numbers(self._context)",
        "from keyweave.exchange.deadline import server_time; return server_time(self._context, self._context.keyspace.partitions()[0])",
    ),
    Mutant(
        "what takes long does not read the numbers of partitions again",
        "keyweave.exchange.lease:within_lease",
        "context.monotonic() - known > age",
        "False",
    ),
)


def find(mutant: Mutant, first: int = 0, patience: float = 60.0) -> tuple[int, Violation] | None:
    """Play seeds until a mutant shows, for so many seconds of the processor. Returns the seed and what was broken.

    A fault of a repartition is hunted in the runs that have one. What a seed breaks without the mutant as well does not count.
    """
    end, seed = time.process_time() + patience, first
    while time.process_time() < end:
        found = _broken(mutant, seed, end)
        if found is None:
            return None
        if not play(scenario(found[0])).violations:
            return found
        seed = found[0] + 1
    return None


def _broken(mutant: Mutant, first: int, end: float) -> tuple[int, Violation] | None:
    """Play seeds with a mutant until one breaks something, or the processor's time reaches `end`."""
    doubling, seed = mutant.where.startswith(_OF_A_REPARTITION), first
    with planted(mutant, spread) as package:
        while time.process_time() < end:
            if not doubling or first_number(seed) is not None:
                violations = play(scenario(seed), package).violations
                if violations:
                    return seed, violations[0]
            seed += 1
    return None
