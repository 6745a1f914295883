"""A client process and its tasks: drives programs and flows, effect by effect, as a shell does.

A function that a flow calls may itself be a program: it is put on top of the flow and runs first. A crash leaves
everything as it is at that moment; what was sent still arrives.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Mapping
from functools import partial
from types import GeneratorType
from typing import Any, Final, Protocol

from keyweave.connection.direct.wire import stood_still
from keyweave.effects import Call, ConnectionFailure, Effect, Send, Sleep, Wait
from keyweave.errors import KeyweaveError, OutcomeUnknownError
from keyweave.exchange.handshake import handshake
from keyweave.health.connect import connect
from keyweave.store.context import Context
from tools.simulate.clients.actor import Aborted, Actor, Budget, Program
from tools.simulate.clients.settle import NotApplied, settling
from tools.simulate.draws import chance, draws
from tools.simulate.history import Act, History
from tools.simulate.network.links import Exchange, Link, deadline_passed
from tools.simulate.network.network import Network
from tools.simulate.network.timeline import Timeline
from tools.simulate.network.trace import Trace
from tools.simulate.scenario import Operation, ProcessPlan, Scenario

MOST_EXCHANGES: Final = 2000
"""An operation that sends more than this never ends."""

_RESTART: Final = 50_000
"""Virtual microseconds between a crash and the next life of a process."""

Stack = list[Generator[Effect, Any, Any]]


class World(Protocol):
    """What processes live in.

    Attributes:
        active: the task whose flow runs.
    """

    active: Task | None

    @property
    def scenario(self) -> Scenario:
        """What is played."""

    @property
    def programs(self) -> Mapping[str, Callable[..., Program]]:
        """What clients do, by the names of the menu."""

    @property
    def timeline(self) -> Timeline:
        """Virtual time."""

    @property
    def network(self) -> Network:
        """The way to the server."""

    @property
    def history(self) -> History:
        """What clients did."""

    @property
    def trace(self) -> Trace:
        """What happened."""

    def context(self, monotonic: Callable[[], float], source: random.Random) -> Context:
        """A context of a store that was just opened."""

    def ledger_ends(self, session: str) -> float:
        """Seconds until the server drops the ledger of a client; 0 if there is none."""

    def complain(self, checker: str, text: str, *acts: Act) -> None:
        """Report a violation."""


class Process:
    """One process; it lives again after a crash."""

    def __init__(self, world: World, plan: ProcessPlan) -> None:
        self.world: Final = world
        self.plan: Final = plan
        self.life = 0
        self.tasks = [Task(self, number, operations) for number, operations in enumerate(plan.tasks)]
        self.context: Context

    def monotonic(self) -> float:
        """Seconds on this process's own clock."""
        return self.world.timeline.now * (1 + self.plan.drift) / 1_000_000 + 1000.0

    def begin(self) -> None:
        """Open the store, then start every task."""
        self.life += 1
        source = chance(self.world.scenario.seed, 5, self.plan.number, self.life)
        self.context = self.world.context(self.monotonic, source)
        if self.tasks:
            self.tasks[0].open()

    def opened(self) -> None:
        """Start the tasks."""
        for task in self.tasks:
            task.next()

    def crash(self) -> None:
        """End at once, and live again later."""
        for task in self.tasks:
            task.die()
        timeline = self.world.timeline
        timeline.at(timeline.now + _RESTART, self.begin)


class Task:
    """One thread of a process: an operation at a time."""

    def __init__(self, process: Process, number: int, operations: tuple[Operation, ...]) -> None:
        self.process: Final = process
        self.number: Final = number
        self.link: Link | None = None
        self.act: Act | None = None
        self.ops = 0
        self._waiting: Final = list(reversed(operations))
        self._stack: Stack = []
        self._exchange: Exchange | None = None
        self._sent = 0
        self._pause = 0
        self._operation = 0
        self._budget = Budget()

    @property
    def name(self) -> tuple[int, int, int]:
        """Process, task and operation."""
        return self.process.plan.number, self.number, self._operation

    def open(self) -> None:
        """Connect and shake hands, then start the process's tasks."""
        self._operation, self._sent, self.ops = -self.process.life, 0, 0
        self._stack = [self._opening()]
        self._go(None, None)

    def _opening(self) -> Generator[Effect, Any, None]:
        context, pause = self.process.context, 0.1
        while True:
            try:
                yield from connect(context)
                yield from handshake(context)
            except KeyweaveError:
                yield Sleep(pause)
                pause = min(2 * pause, 10.0)
            else:
                return

    def next(self) -> None:
        """Begin the next operation after its pause."""
        if not self._waiting:
            return
        operation = self._waiting[-1]
        self._pause += 1
        timeline = self.process.world.timeline
        begins = timeline.now + operation.pause if operation.at is None else operation.at
        timeline.at(begins, self._start, self._pause)

    def _start(self, pause: int) -> None:
        if pause != self._pause:
            return
        world, operation = self.process.world, self._waiting.pop()
        self._operation, self._sent, self.ops = operation.number, 0, 0
        number = self.process.plan.number
        token = f"{number}-{self.number}-{operation.number}"
        self.act = Act(
            token,
            operation.kind,
            operation.arguments,
            (number, self.number),
            world.history.tick(),
            world.timeline.now,
        )
        world.history.acts.append(self.act)
        if world.trace.recording:
            arguments = ", ".join(map(str, operation.arguments))
            world.trace.say(world.timeline.now, self.name, f"begins {operation.kind}({arguments}) as {token}")
        context = self.process.context
        context.random.seed(draws(world.scenario.seed, 6, *self.name)[0])
        self._budget = Budget()
        timeline = world.timeline
        actor = Actor(context, self.act, self._ledger_ends, world.history, lambda: timeline.now, self._budget)
        program = world.programs[operation.kind](actor, *operation.arguments)
        self._stack = [settling(world, actor, program, partial(chance, world.scenario.seed, 8, *self.name))]
        self._go(None, None)

    def _ledger_ends(self) -> float:
        return self.process.world.ledger_ends(self.process.context.state.ledger.session)

    def answered(self, replies: list[Any]) -> None:
        """The exchange under way was answered."""
        self._exchange = None
        until = self._budget.until
        late = (
            until is not None and self.process.monotonic() > until + self.process.world.scenario.timeout + 1.0
        )
        if late and self.act is not None:
            self.failed(stood_still())
        else:
            self._go(replies, None)

    def failed(self, failure: BaseException) -> None:
        """The exchange under way failed."""
        self._exchange = None
        if self.act is not None and isinstance(failure, ConnectionFailure) and failure.sent:
            self.act.doubts += 1
        self._go(None, failure)

    def crash(self) -> None:
        """The process ends."""
        self.process.crash()

    def die(self) -> None:
        """The process has ended."""
        world = self.process.world
        if self._exchange is not None:
            world.network.forget(self._exchange)
        self._exchange = self.link = None
        self._pause += 1
        stack, self._stack = self._stack, []
        for generator in reversed(stack):
            try:
                generator.close()
            except RuntimeError as error:
                world.complain("flow", f"a flow went on after its caller was gone: {error}")
        if self.act is not None:
            self.act.outcome = "crashed"
            if world.trace.recording:
                world.trace.say(world.timeline.now, self.name, "  its process crashes")
            self.act = None

    def _go(self, answer: Any, failure: BaseException | None) -> None:
        """Run until the next effect that takes time."""
        stack, world = self._stack, self.process.world
        world.active = self
        while stack:
            try:
                effect = stack[-1].send(answer) if failure is None else stack[-1].throw(failure)
            except StopIteration as stop:
                stack.pop()
                answer, failure = stop.value, None
                continue
            except BaseException as error:  # noqa: BLE001 - the flow below decides what to do about it
                stack.pop()
                answer, failure = None, error
                continue
            answer = failure = None
            kind = type(effect)
            if kind is not Call and self._spent(effect):
                failure = deadline_passed()
            elif kind is Send:
                assert isinstance(effect, Send)
                self._sent += 1
                if self._sent <= MOST_EXCHANGES:
                    self._exchange = world.network.send(
                        self, effect.commands, (*self.name, self._sent), effect.within
                    )
                    return
                failure = RuntimeError(f"more than {MOST_EXCHANGES} exchanges")
            elif kind is Sleep:
                assert isinstance(effect, Sleep)
                self._pause += 1
                moment = world.timeline.now + max(1, int(effect.seconds * 1_000_000))
                world.timeline.at(moment, self._wake, self._pause)
                return
            elif kind is Wait:
                assert isinstance(effect, Wait)
                self._wait(effect)
                return
            else:
                assert isinstance(effect, Call)
                try:
                    answer = effect.function(*effect.arguments)
                except BaseException as error:  # noqa: BLE001 - the flow decides what to do about it
                    failure = error
                else:
                    if isinstance(answer, GeneratorType):
                        stack.append(answer)
                        answer = None
        self._ended(failure)

    def _spent(self, effect: Effect) -> bool:
        """Whether the budget of the call leaves no time for an effect, as a shell sees it."""
        until = self._budget.until
        if until is None:
            return False
        now = self.process.monotonic()
        return now >= until or (isinstance(effect, Sleep) and now + effect.seconds >= until)

    def _wake(self, pause: int) -> None:
        if pause == self._pause:
            self._go(None, None)

    def _wait(self, effect: Wait) -> None:
        """Go on when the signal is set, when the time has passed, or when the budget of the call has."""
        timeline, signal = self.process.world.timeline, effect.signal
        self._pause += 1
        pause, until = self._pause, self._budget.until
        left = effect.seconds if until is None else min(effect.seconds, until - self.process.monotonic())

        def go_on(out_of_time: bool) -> None:
            if pause != self._pause:
                return
            self._pause += 1
            late = out_of_time and not signal.is_set and left < effect.seconds
            self._go(signal.is_set, deadline_passed() if late else None)

        timeline.at(timeline.now + max(1, int(left * 1_000_000)), go_on, True)
        signal.attach(lambda: timeline.at(timeline.now, go_on, False))

    def _ended(self, failure: BaseException | None) -> None:
        world, act = self.process.world, self.act
        if act is None:
            if failure is not None:
                world.complain("flow", f"opening a store ended with {failure!r}")
            self.process.opened()
            return
        act.ended, act.ended_at = world.history.tick(), world.timeline.now
        act.outcome, act.error = outcome_of(failure), failure
        world.trace.note(world.timeline.now, self.name, f"{act.outcome} {type(failure).__name__}")
        if world.trace.recording:
            end = act.outcome if failure is None else f"{act.outcome}: {type(failure).__name__}: {failure}"
            world.trace.say(world.timeline.now, self.name, f"ends {act.kind} as {act.token}: {end}")
        if act.outcome == "fault":
            world.complain("flow", f"{act.kind} ended with {failure!r}", act)
        if act.finding:
            world.complain("answer", act.finding, act)
        self.act = None
        self.next()


def outcome_of(failure: BaseException | None) -> str:
    """What an error says about the operation; `fault` for one that no operation may raise."""
    if failure is None:
        return "ok"
    if isinstance(failure, OutcomeUnknownError):
        return "unknown"
    if isinstance(failure, KeyweaveError | Aborted | NotApplied):
        return "refused"
    return "cancelled" if type(failure).__name__ == "CancelledError" else "fault"
