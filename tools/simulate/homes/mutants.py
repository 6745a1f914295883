"""Faults planted in the protocol of homes, each of which the simulator has to find."""

from __future__ import annotations

import time
from typing import Final

from tools.simulate.homes.judge import Violation
from tools.simulate.homes.play import play
from tools.simulate.homes.scenario import scenario
from tools.simulate.mutants import Mutant, planted

MUTANTS: Final = (
    Mutant(
        "no fence on takeover",
        "keyweave.homes.claim:claim",
        "fence(context, thing, home, receipt)",
        "fence(context, thing, home._replace(epoch=0), receipt)",
    ),
    Mutant(
        "no fence on removal",
        "keyweave.homes.claim:vacate",
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
        "the home is removed before the row",
        "keyweave.homes.write:delete_homed",
        "        entries = context.codec(entity).entries_of(stored)\n",
        "        entries = context.codec(entity).entries_of(stored)\n"
        "        yield from ask(context, ((\n"
        "            'HDEL', Homed(entity, '', key).at(context).homes(entity.name), key),))\n",
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
        "a home is replaced after its fence has ended",
        "lua:claim_home",
        "if home and now > tonumber(ARGV[4]) then",
        "if false then",
    ),
    Mutant(
        "a home is removed after its fence has ended",
        "lua:release_home",
        "if now > tonumber(ARGV[3]) then",
        "if false then",
    ),
    Mutant(
        "an insert that came too late is sent again under the same home",
        "keyweave.exchange.apply:_replayed",
        "if state.plan.bounded:",
        "if False:",
    ),
    Mutant(
        "a value that is there passes for gone",
        "lua:fence_home",
        "present = redis.call('HGET', place, ARGV[2])",
        "present = false",
    ),
    Mutant(
        "a row that is there passes for gone",
        "lua:fence_home",
        "present = redis.call('EXISTS', place) == 1",
        "present = false",
    ),
)


def find(mutant: Mutant, first: int = 0, patience: float = 60.0) -> tuple[int, Violation] | None:
    """Play seeds until a mutant shows, for so many seconds of the processor. Returns the seed and what was broken."""
    began, seed = time.process_time(), first
    with planted(mutant) as package:
        while time.process_time() - began < patience:
            violations = play(scenario(seed), package).violations
            if violations:
                return seed, violations[0]
            seed += 1
    return None
