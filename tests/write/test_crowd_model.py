"""Callers of one row in random order, each interrupted anywhere: what they learned agrees with what the row holds.

The real flows and scripts run in one thread, on the simulator's server. A schedule says which caller goes on next, and what
happens to it then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from keyweave.effects import Call, ConnectionFailure, Effect, Send, Wait
from keyweave.errors import OutcomeUnknownError, StoreUnavailableError
from keyweave.write.outcome import outcome
from keyweave.write.save import change, create, upsert
from tools.simulate.clients.arena import arena, kind
from tools.simulate.run import Run
from tools.simulate.scenario import scenario

KINDS: Final = ("count", "raise", "put")
FATES: Final = ("go on",) * 8 + ("late", "late", "late", "cancel", "cancel behind", "lost")

CALLERS = st.lists(st.sampled_from(KINDS), min_size=3, max_size=5)
STEPS = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(FATES)), min_size=8, max_size=40)


class Refused(Exception):
    """What a function raises."""


class Caller:
    """A call under way.

    Attributes:
        token: what it appends to the row.
        what: kind of the call.
        effect: what its flow waits for; None when it has ended.
        result: the record that it returned.
        error: what it ended with.
    """

    def __init__(self, world: World, token: str, what: str) -> None:
        self.token = token
        self.what = what
        self.effect: Effect | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self._world = world
        self._flow = self._make()
        self.resume(None, None)

    def _make(self) -> Generator[Effect, Any, Any]:
        entity, context = kind("Counter"), self._world.context
        if self.what == "put":
            record = entity.record(id="c0", tokens=[self.token], number=1)
            return upsert(context, entity, record)

        def function(record: Any) -> None:
            record.tokens.append(self.token)
            record.number += 1
            if self.what == "raise":
                raise Refused(self.token)

        return change(context, entity, "c0", function)

    def resume(self, answer: Any, failure: BaseException | None) -> None:
        """Give the flow the answer to its effect, and run it until the next one that takes time."""
        while True:
            try:
                effect = self._flow.send(answer) if failure is None else self._flow.throw(failure)
            except StopIteration as stop:
                self.effect, self.result = None, stop.value
                return
            except BaseException as error:  # noqa: BLE001 - what a caller learns is the subject of the test
                self.effect, self.error = None, error
                return
            answer = failure = None
            if not isinstance(effect, Call):
                self.effect = effect
                return
            try:
                answer = effect.function(*effect.arguments)
            except Exception as error:  # noqa: BLE001 - as a shell does
                failure = error

    @property
    def able(self) -> bool:
        """Whether it can go on by itself."""
        return self.effect is not None and (not isinstance(self.effect, Wait) or self.effect.signal.is_set)

    def go_on(self, fate: str) -> None:
        """Let its effect have its answer, or what a schedule says instead."""
        effect, world = self.effect, self._world
        if effect is None:
            return
        if fate == "cancel":
            self.resume(None, asyncio.CancelledError())
        elif fate == "cancel behind" and isinstance(effect, Send):
            world.send(effect)
            self.resume(None, asyncio.CancelledError())
        elif fate == "lost" and isinstance(effect, Send):
            world.send(effect)
            self.resume(None, ConnectionFailure("closed", "lost", sent=True))
        elif fate == "late" and not isinstance(effect, Send):
            self.resume(None, ConnectionFailure("deadline", "late", sent=False))
        elif self.able:
            if isinstance(effect, Send):
                self.resume(world.send(effect), None)
            else:
                self.resume(isinstance(effect, Wait) or None, None)


class World:
    """A server with one counter, and a store."""

    def __init__(self) -> None:
        self.run = Run(scenario(0), arena())
        self.context = self.run.outside()
        self.run.direct(create(self.context, kind("Counter"), kind("Counter").record(id="c0")))

    def send(self, effect: Send) -> Any:
        """Carry out an exchange."""
        self.run.timeline.now += 100
        return self.run.node.pipeline(effect.commands, self.run.timeline.now)


@given(kinds=CALLERS, steps=STEPS)
@settings(max_examples=500, deadline=None)
def test_callers_learn_what_became_of_their_writes(kinds: list[str], steps: list[tuple[int, str]]) -> None:
    world = World()
    callers = [Caller(world, f"{what}-{number}", what) for number, what in enumerate(kinds)]
    for at, fate in steps:
        callers[at % len(callers)].go_on(fate)
    while any(caller.effect is not None for caller in callers):
        able = [caller for caller in callers if caller.able]
        assert able, "no caller goes on: a turn was lost"
        for caller in able:
            caller.go_on("go on")
    assert world.context.placing.writers.get(("Counter", "c0")) is None
    judge(world, callers)


def judge(world: World, callers: list[Caller]) -> None:
    """Compare what callers learned with the row."""
    (document,) = world.run.node.pipeline([("GET", _key(world))], world.run.timeline.now)
    final = world.context.codec(kind("Counter")).load(document)
    assert len(set(final.tokens)) == len(final.tokens)
    assert final.number == len(final.tokens)
    put = any(caller.what == "put" for caller in callers)
    for caller in callers:
        held = caller.token in final.tokens
        error = caller.error
        if error is None:
            assert caller.result.tokens[-1] == caller.token
            assert caller.what != "raise"
            if not put:
                assert caller.result.tokens == final.tokens[: final.tokens.index(caller.token) + 1]
        elif isinstance(error, OutcomeUnknownError):
            settled = world.run.direct(outcome(world.context, error))
            assert put or settled.applied == held
            if settled.applied:
                assert settled.result.tokens[-1] == caller.token
        elif isinstance(error, StoreUnavailableError | Refused):
            assert not held
        else:
            assert isinstance(error, asyncio.CancelledError), repr(error)
            assert caller.what != "raise" or not held


def _key(world: World) -> str:
    return world.context.partition(kind("Counter")).document("Counter", "c0")
