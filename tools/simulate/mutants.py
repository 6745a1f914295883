"""Mutants: small faults planted in `apply` and in the runtime, each of which the simulator has to find.

A mutant of a script is another text. A mutant of the runtime is a function whose source was changed a little; its code is
put in the place of the original's while the mutant lives. What is known to be broken without any mutant does not count.
"""

from __future__ import annotations

import importlib
import inspect
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.table import Table

from keyweave.model.entity import Package
from tools.simulate.clients.arena import arena, with_scripts
from tools.simulate.expected import known
from tools.simulate.run import Violation, play
from tools.simulate.scenario import Scenario, scenario

PATIENCE: Final = 60.0
"""Seconds after which a mutant counts as not found."""


class Mutant(NamedTuple):
    """One fault.

    Attributes:
        name: what is wrong.
        where: `lua` for `apply`, or module and function.
        old: a piece of the source that occurs once.
        new: what stands there instead.
    """

    name: str
    where: str
    old: str
    new: str


class Found(NamedTuple):
    """How a mutant was found.

    Attributes:
        violation: what it broke; None if it was not found.
        scenario: where.
        seeds: how many were played.
        seconds: how long that took.
    """

    violation: Violation | None
    scenario: Scenario | None
    seeds: int
    seconds: float


LUA: Final = "lua"

MUTANTS: Final = (
    Mutant("a changed row passes its guard", LUA, "other(head, from + 1) and 'CHANGED'", "false"),
    Mutant("an insert overwrites a row", LUA, "return 1, head.dead and 'DEAD' or 'EXISTS'", "return 1"),
    Mutant("a taken value passes its guard", LUA, "owner and owner ~= ARGV[from + 2] and 'TAKEN'", "false"),
    Mutant(
        "a view with more members passes its guard", LUA, " ~= tonumber(ARGV[from + 1]) and 'COUNT'", " < 0"
    ),
    Mutant("a reference may lead nowhere", LUA, "(not head or head.dead) and 'NO_TARGET'", "false"),
    Mutant(
        "a living row passes for a dead one",
        LUA,
        "(not head or not head.dead or other(head, from + 1)) and 'ALIVE'",
        "false",
    ),
    Mutant(
        "a changed row is reported as missing",
        LUA,
        "other(head, from + 1) and 'CHANGED'",
        "other(head, from + 1) and 'MISSING'",
    ),
    Mutant("a missing row is reported as changed", LUA, "return 3, 'MISSING'", "return 3, 'CHANGED'"),
    Mutant("a refusal leaves an earlier try on its way", LUA, "if ARGV[9] ~= '' then", "if false then"),
    Mutant("a plan that comes too late is applied", LUA, "if now > tonumber(ARGV[4]) then", "if false then"),
    Mutant("a retry is not recognised", LUA, "if answered then", "if false then"),
    Mutant(
        "an older plan is applied in a slot that is used again",
        LUA,
        "return tonumber(latest) > tonumber(sequence) and { 'STALE' } or nil",
        "return nil",
    ),
    Mutant(
        "a retry gets another answer",
        LUA,
        "sequence .. ' ' .. table.concat(reply, ' ')",
        "sequence .. ' OK 1700000000000001 1700000000000001 0'",
    ),
    Mutant("a guard ignores the op", LUA, "or ARGV[from + 1] ~= '' and head.op ~= ARGV[from + 1]", ""),
    Mutant(
        "a claim is not released",
        LUA,
        "call('HDEL', KEYS[claims + number], member)",
        "call('HGET', KEYS[claims + number], member)",
    ),
    Mutant(
        "a member is not removed",
        LUA,
        "call('ZREM', KEYS[views + number], member)",
        "call('ZSCORE', KEYS[views + number], member)",
    ),
    Mutant("a deleted row keeps its deadline", LUA, "call('ZREM', expiry, ARGV[at + 2])", ""),
    Mutant("a deadline is not listed", LUA, "call('ZADD', expiry, ends, member)\n  else", "else"),
    Mutant(
        "a reopened row keeps its deadline",
        LUA,
        "if not unlisted[number] and (not old or old.expires > 0) then",
        "if false then",
    ),
    Mutant("an update is a creation", LUA, "created = stays and old.created or written", "created = written"),
    Mutant("the clock is not kept", LUA, "call('SET', clock, format('%d', revision))", ""),
    Mutant("scores by revision are those of the creation", LUA, "score = written", "score = created"),
    Mutant(
        "a retry does not say that it is one",
        "keyweave.exchange.ask:_answer",
        "state.sent = state.sent or failure.sent",
        "state.sent = False",
    ),
    Mutant(
        "rows that are only locked are not guarded",
        "keyweave.write.transact:_attempt",
        "if (name, key) not in written",
        "if False",
    ),
    Mutant(
        "a row that came back is forgotten",
        "keyweave.commit.commit:_guard_row",
        "plan.guard_missing(entity, key)",
        "pass",
    ),
    Mutant(
        "a living owner's claim is healed",
        "keyweave.write.settle:clean_up",
        "if owner is not None and claim in guard.entity.entries(owner):",
        "if False:",
    ),
    Mutant(
        "a plan forgets entries of the old row",
        "keyweave.changes.plan:Plan._difference",
        "if (entry.view, entry.values) not in kept:",
        "if False:",
    ),
)


@contextmanager
def planted(mutant: Mutant) -> Iterator[Package]:
    """The package with a fault, or with a faulty runtime, while this is entered.

    Raises:
        ValueError: the source has changed, so that the fault cannot be planted.
    """
    if mutant.where == LUA:
        text = arena().scripts["apply"]
        yield with_scripts(arena(), {"apply": _replaced(text, mutant)})
        return
    module_name, _, path = mutant.where.partition(":")
    module = importlib.import_module(module_name)
    function: Any = module
    for name in path.split("."):
        function = getattr(function, name)
    source = _replaced(textwrap.dedent(inspect.getsource(function)), mutant)
    names = dict(vars(module))
    exec(compile(f"from __future__ import annotations\n{source}", module_name, "exec"), names)  # noqa: S102
    original = function.__code__
    function.__code__ = names[path.rpartition(".")[2]].__code__
    try:
        yield arena()
    finally:
        function.__code__ = original


def _replaced(source: str, mutant: Mutant) -> str:
    if source.count(mutant.old) != 1:
        raise ValueError(f"mutant {mutant.name!r}: {mutant.old!r} occurs {source.count(mutant.old)} times")
    return source.replace(mutant.old, mutant.new)


def find(mutant: Mutant, first: int = 0, patience: float = PATIENCE) -> Found:
    """Play seeds until the mutant shows: with faults, where only new violations count, and without."""
    began, seeds = time.monotonic(), 0
    with planted(mutant) as package:
        while time.monotonic() - began < patience:
            whole = scenario(first + seeds // 2)
            calm = bool(seeds % 2)
            candidate = whole.without(rates={}, events=()) if calm else whole
            seeds += 1
            for violation in play(candidate, package).violations:
                if calm or known(violation) is None:
                    return Found(violation, candidate, seeds, time.monotonic() - began)
    return Found(None, None, seeds, time.monotonic() - began)


def hunt(console: Console) -> int:
    """Look for every mutant and print a table. Returns 1 if one was not found."""
    table = Table("mutant", "seeds", "seconds", "found as")
    began, missed = time.monotonic(), 0
    for mutant in MUTANTS:
        console.print(f"mutants: {mutant.name}")
        found = find(mutant)
        missed += found.violation is None
        text = found.violation.signature if found.violation is not None else "[bold red]not found[/]"
        table.add_row(mutant.name, str(found.seeds), f"{found.seconds:.1f}", text)
    console.print(table)
    console.print(
        f"mutants: {len(MUTANTS) - missed} of {len(MUTANTS)} found in {time.monotonic() - began:.0f} s"
    )
    return 1 if missed else 0
