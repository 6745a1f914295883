"""Mutants: small faults planted in `apply` and in the runtime, each of which the simulator has to find.

A mutant of a script is another text. A mutant of the runtime is a function whose source was changed a little; its code is
put in the place of the original's while the mutant lives.
"""

from __future__ import annotations

import importlib
import inspect
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.table import Table

from keyweave.model.entity import Package
from tools.simulate.clients.arena import arena, with_scripts
from tools.simulate.run import Violation, play
from tools.simulate.scenario import Scenario, scenario

PATIENCE: Final = 600.0
"""Seconds of the processor after which a mutant counts as not found."""


class Mutant(NamedTuple):
    """One fault.

    Attributes:
        name: what is wrong.
        where: `lua:` and the name of a script, or module and function.
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
        exchanges: how many pipelines were sent in them.
        seconds: of the processor that it took.
    """

    violation: Violation | None
    scenario: Scenario | None
    seeds: int
    exchanges: int
    seconds: float


LUA: Final = "lua:apply"

MUTANTS: Final = (
    Mutant("a changed row passes its guard", LUA, "status = not same and 'CHANGED'", "status = false"),
    Mutant("an insert overwrites a row", LUA, "status = head.dead and 'DEAD' or 'EXISTS'", "status = nil"),
    Mutant(
        "an insert of several rows overwrites a row",
        LUA,
        "first = present == 0 and new + 1 or 1",
        "first = new + 1",
    ),
    Mutant(
        "an insert of several rows forgets what the server freed",
        LUA,
        "local freed = call('ZCARD', expiry) > 0",
        "local freed = false",
    ),
    Mutant(
        "the entries of an insert are those of one row less",
        LUA,
        "for index = 1, rows do\n          local part",
        "for index = 2, rows do\n          local part",
    ),
    Mutant("a taken value passes its guard", LUA, "owner and owner ~= ARGV[at + 3] and 'TAKEN'", "false"),
    Mutant(
        "a view with more members passes its guard", LUA, " ~= tonumber(ARGV[at + 2]) and 'COUNT'", " < 0"
    ),
    Mutant("a reference may lead nowhere", LUA, "(not head or head.dead) and 'NO_TARGET'", "false"),
    Mutant(
        "a living row passes for a dead one",
        LUA,
        "not (same and head.dead) and 'ALIVE'",
        "false",
    ),
    Mutant(
        "a changed row is reported as missing",
        LUA,
        "status = not same and 'CHANGED'",
        "status = not same and 'MISSING'",
    ),
    Mutant("a missing row is reported as changed", LUA, "status = 'MISSING'", "status = 'CHANGED'"),
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
    Mutant(
        "the ledger is not written",
        LUA,
        "call('HSET', ledger, slot, sequence .. ' ' .. table.concat(reply, ' '))\n",
        "",
    ),
    Mutant("the ledger answers for another plan", LUA, "if latest == sequence then", "if true then"),
    Mutant("the life of the ledger is not renewed", LUA, "not held or ARGV[8] ~= ''", "not held"),
    Mutant(
        "a client believes that a refused plan has renewed its ledger",
        "keyweave.exchange.apply:_finish",
        'if state.renew and reply[0] == b"OK":',
        "if state.renew:",
    ),
    Mutant(
        "a retry is sent under another number",
        "keyweave.exchange.apply:Attempt.command",
        "ticket=self.ticket",
        "ticket=context.state.ledger.take()",
    ),
    Mutant(
        "a settled outcome does not hold back a late try",
        "lua:outcome",
        "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' NEVER')",
        "",
    ),
    Mutant(
        "an outcome is settled for another plan",
        "keyweave.exchange.recall:recall",
        "(ticket.slot, ticket.sequence)",
        "(ticket.slot + 1, ticket.sequence)",
    ),
    Mutant(
        "a slot is used again while its plan may be on its way",
        "keyweave.store.ledger:Ledger.leave_open",
        "self._unsettled.append(ticket.slot)",
        "self._free.append(ticket.slot)",
    ),
    Mutant("a guard ignores the op", LUA, "and (ARGV[at + 3] == '' or head.op == ARGV[at + 3])", ""),
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
    Mutant("the clock is not kept", LUA, "call('SET', clock, format('%d', revision) .. suffix)", ""),
    Mutant(
        "scores by revision are those of the creation",
        LUA,
        "'revision' then\n        score = written",
        "'revision' then\n        score = created",
    ),
    Mutant(
        "a changed row passes the guard of a plan of one row",
        LUA,
        "if revision ~= ARGV[at + 2] or op ~= ARGV[at + 3] and ARGV[at + 3] ~= '' then",
        "if not revision then",
    ),
    Mutant(
        "a plan of one row overwrites a row that it inserts",
        LUA,
        "elseif text == '' then\n    at = at + 2\n  else\n    return nil\n  end",
        "else\n    at = at + 2\n  end",
    ),
    Mutant(
        "a plan of one row forgets what the server freed",
        LUA,
        "if not revision and call('ZSCORE', expiry, string.sub(document, #expiry - 6)) then",
        "if false then",
    ),
    Mutant(
        "an older plan of one row is applied in a slot that is used again",
        LUA,
        "latest >= tonumber(sequence) or now",
        "now",
    ),
    Mutant(
        "a plan of one row that comes too late is applied", LUA, "or now > tonumber(ARGV[4]) then", "then"
    ),
    Mutant(
        "a reference of a plan of one row may lead nowhere",
        LUA,
        "if not expires or expires ~= '0' and tonumber(expires) <= now then",
        "if false then",
    ),
    Mutant(
        "a taken value passes the guard of a plan of one row",
        LUA,
        "if owner and owner ~= ARGV[at + 3] then",
        "if false then",
    ),
    Mutant("an update of one row is a creation", LUA, "created = created or written", "created = written"),
    Mutant(
        "the clock stands still for plans of one row", LUA, "elseif last >= now then", "elseif false then"
    ),
    Mutant(
        "the ledger does not keep a plan of one row",
        LUA,
        "failure or try('HSET', ledger, slot, sequence .. ' OK ' .. written .. ' ' .. created .. ' 0')",
        "failure or 0",
    ),
    Mutant(
        "a member is not removed by a plan of one row",
        LUA,
        "result = try('ZREM', view, member)",
        "result = 1",
    ),
    Mutant(
        "a claim is not released by a plan of one row",
        LUA,
        "call('HDEL', KEYS[claims + number], value)",
        "",
    ),
    Mutant(
        "scores by revision are those of the creation in a plan of one row",
        LUA,
        "score == 'revision' then\n      score = written",
        "score == 'revision' then\n      score = created",
    ),
    Mutant(
        "a changed row passes the guard of a plan that deletes",
        LUA,
        "if latest ~= ARGV[at + 2] or op ~= ARGV[at + 3] and ARGV[at + 3] ~= '' then",
        "if not latest then",
    ),
    Mutant(
        "a changed child passes the guard of a plan that deletes",
        LUA,
        "if call('GET', KEYS[DOCUMENTS + number]) ~= text then",
        "if false then",
    ),
    Mutant(
        "a new child passes the guard of a plan that deletes",
        LUA,
        "if call('ZCARD', KEYS[views + number]) ~= tonumber(ARGV[at + 2]) then",
        "if false then",
    ),
    Mutant(
        "the ledger does not keep a plan that deletes",
        LUA,
        "failure or not shared and try('HSET', ledger, slot, sequence .. ' OK')",
        "failure or 0",
    ),
    Mutant(
        "the ledger does not keep a plan that deletes rows of shared views",
        LUA,
        "    call('HSET', ledger, slot, sequence .. ' OK')\n",
        "",
    ),
    Mutant(
        "a member is not removed by a plan that deletes",
        LUA,
        "removed = try('ZREM', view, member)",
        "removed = 1",
    ),
    Mutant(
        "a claim is not released by a plan that deletes",
        LUA,
        "call('HDEL', KEYS[claims + subject], unpack(values, index, math.min(index + 999, #values)))",
        "",
    ),
    Mutant(
        "only one of the members that leave a view together is taken out",
        LUA,
        "unpack(members, index, math.min(index + 999, #members))",
        "members[1]",
    ),
    Mutant("a plan that deletes leaves the documents", LUA, "call('DEL', unpack(documents))", ""),
    Mutant(
        "a packed plan that deletes forgets the size of a view",
        "keyweave.changes.removal:pack_removals",
        "for entity, view, values, members in row.counts:",
        "for entity, view, values, members in ():",
    ),
    Mutant(
        "a retry does not say that it is one",
        "keyweave.exchange.apply:_answer",
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
        "rows that are required are not guarded",
        "keyweave.commit.compose:_guard_watched",
        'plan.guard_exists(entity, key, entity, key, "")',
        "pass",
    ),
    Mutant(
        "a row that came back is forgotten",
        "keyweave.commit.compose:_guard_row",
        "plan.guard_gone(entity, key, change.deadline)",
        "pass",
    ),
    Mutant(
        "a row that came back and was freed again is forgotten",
        LUA,
        "tonumber(deadline or '') ~= tonumber(ARGV[at + 2]) and 'CHANGED'",
        "false",
    ),
    Mutant(
        "a living owner's claim is healed",
        "keyweave.write.settle:clean_up",
        "if owner is not None and claim in guard.entity.entries(owner):",
        "if False:",
    ),
    Mutant(
        "a batch forgets one of its callers",
        "keyweave.write.batch:Batch.take",
        "self.latest = prepared",
        "self.latest = prepared if len(self.members) != 1 else self.latest",
    ),
    Mutant(
        "a batch keeps the effects of a function that raises",
        "keyweave.write.batch:Batch.take",
        "member.forget()\n        member.error = error",
        "self.latest = member.prepared = context.codec(entity).prepare(member.record, self.base)\n"
        "        member.error = error",
    ),
    Mutant(
        "a plan that another caller sends on gets another number",
        "keyweave.exchange.apply:apply",
        "if trailer.attempt is None:",
        "if True:",
    ),
    Mutant(
        "a plan forgets entries of the old row",
        "keyweave.changes.plan:Plan._difference",
        "if not _has_place(new, entry):",
        "if False:",
    ),
    Mutant(
        "a packed plan forgets the sets that a row leaves",
        "keyweave.changes.packed:RowPacker.put",
        "sets, left = _difference(sets, left)",
        "sets, left = _difference(sets, left)[0], []",
    ),
    Mutant(
        "a packed plan that was refused is sent once more under another number",
        "keyweave.exchange.apply:Attempt.__init__",
        "self.ticket = begun.ticket",
        "self.ticket = context.state.ledger.take()",
    ),
)


@contextmanager
def planted(mutant: Mutant, package: Callable[[], Package] = arena) -> Iterator[Package]:
    """The package with a fault, or with a faulty runtime, while this is entered.

    Raises:
        ValueError: the source has changed, so that the fault cannot be planted.
    """
    module_name, _, path = mutant.where.partition(":")
    if module_name == "lua":
        yield with_scripts(package(), {path: _replaced(package().scripts[path], mutant)})
        return
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
        yield package()
    finally:
        function.__code__ = original


def _replaced(source: str, mutant: Mutant) -> str:
    if source.count(mutant.old) != 1:
        raise ValueError(f"mutant {mutant.name!r}: {mutant.old!r} occurs {source.count(mutant.old)} times")
    return source.replace(mutant.old, mutant.new)


def find(mutant: Mutant, first: int = 0, patience: float = PATIENCE) -> Found:
    """Play seeds until the mutant shows: with faults and without, in turns."""
    began, seeds, exchanges = time.process_time(), 0, 0
    with planted(mutant) as package:
        while time.process_time() - began < patience:
            whole = scenario(first + seeds // 2)
            candidate = whole.without(rates={}, events=()) if seeds % 2 else whole
            seeds += 1
            played = play(candidate, package)
            exchanges += played.exchanges
            if played.violations:
                seconds = time.process_time() - began
                return Found(played.violations[0], candidate, seeds, exchanges, seconds)
    return Found(None, None, seeds, exchanges, time.process_time() - began)


def hunt(console: Console, first: int) -> int:
    """Look for every mutant and print a table. Returns 1 if one was not found."""
    table = Table("mutant", "seed", "seeds", "exchanges", "seconds", "found as")
    began, missed = time.process_time(), 0
    for mutant in MUTANTS:
        found = find(mutant, first)
        missed += found.violation is None
        text = found.violation.signature if found.violation is not None else "[bold red]not found[/]"
        seed = str(found.scenario.seed) if found.scenario is not None else ""
        console.print(f"mutants: {mutant.name}: {text}", highlight=False)
        table.add_row(
            mutant.name, seed, str(found.seeds), f"{found.exchanges:,}", f"{found.seconds:.1f}", text
        )
    console.print(table)
    spent = time.process_time() - began
    console.print(f"mutants: {len(MUTANTS) - missed} of {len(MUTANTS)} found in {spent:.0f} s of one core")
    return 1 if missed else 0
