"""Every order in which a few sessions can take their steps. Nothing here knows an engine, and nothing sleeps.

A session is a task that stops at *gates*. Opening a gate lets it go on until it reports one of three things: it
stands at its next gate, it waits for another session, or it has ended. The explorer opens one gate at a time, then
asks the sessions that wait whether they still do. After a complete run it goes back to the last point where another
session could have been chosen, and runs everything again from the start with that choice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Protocol

MOST_SCHEDULES: Final = 2000
"""The most orders that a short schedule may have."""


class Stand(Enum):
    """The state of a session."""

    GATE = "gate"
    WAITS = "waits"
    ENDED = "ended"


class Session:
    """One task between gates. Subclasses know how waiting is recognised.

    Attributes:
        name: as it appears in schedules.
        stand: where the session stands, as last reported.
        label: of the gate it stands at.
        outcome: a result or an exception, once the session has ended.
    """

    def __init__(self, name: str) -> None:
        self.name: Final = name
        self.stand = Stand.WAITS
        self.label = ""
        self.outcome: Any = None
        self._reports: asyncio.Queue[Stand] = asyncio.Queue()
        self._open = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def begin(self, body: Callable[[], Awaitable[Any]]) -> None:
        """Start the session's task and run it to its first gate."""
        self._task = asyncio.create_task(self._run(body))
        await self.hear()

    async def _run(self, body: Callable[[], Awaitable[Any]]) -> None:
        try:
            self.outcome = await body()
        except Exception as error:  # noqa: BLE001 - how a session ends is part of the outcome
            self.outcome = error
        self.report(Stand.ENDED)

    def report(self, stand: Stand) -> None:
        """Called by the session's task."""
        self._reports.put_nowait(stand)

    async def gate(self, label: str) -> None:
        """Called by the session's task: stop here until the explorer opens the gate."""
        self.label = label
        self._open.clear()
        self.report(Stand.GATE)
        await self._open.wait()

    async def step(self) -> None:
        """Open the gate, and return the state that the session reaches."""
        self._open.set()
        await self.hear()

    async def hear(self) -> None:
        """Determine the session's state once it cannot continue by itself."""
        self.stand = await self._reports.get()

    async def ask_again(self) -> None:
        """Determine whether this session still waits after a step of another one."""
        raise NotImplementedError

    async def abandon(self) -> None:
        """End the task, wherever it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class Theatre(Protocol):
    """The place of a run: provides fresh rows and sessions for every run."""

    async def set(self) -> Mapping[str, Session]:
        """Fresh rows, and sessions at their first gates."""
        ...

    async def relieve(self) -> None:
        """Let one of the sessions continue when every session waits for another, as the engine would after a timeout."""
        ...


@dataclass(frozen=True)
class Played:
    """One complete run.

    Attributes:
        steps: what was done, in order, as `session.label`; a step that had to wait ends in `~`.
        outcomes: the result of each session.
    """

    steps: tuple[str, ...]
    outcomes: dict[str, Any]


async def explore(theatre: Theatre) -> AsyncIterator[Played]:
    """Play every schedule, each from a fresh start. Look at the theatre's rows before asking for the next one.

    Raises:
        AssertionError: there are too many.
    """
    # The server learns the scripts in a run that does not count: the first call of each takes another exchange.
    await _play(theatre, (), [])
    ahead: list[tuple[str, ...]] = [()]
    played = 0
    while ahead:
        prefix = ahead.pop()
        choices: list[str] = []
        run, options = await _play(theatre, prefix, choices)
        for turn in range(len(choices) - 1, len(prefix) - 1, -1):
            others = [name for name in options[turn] if name != choices[turn]]
            ahead += [(*choices[:turn], name) for name in reversed(others)]
        played += 1
        assert played <= MOST_SCHEDULES, "too many schedules"
        yield run


async def _play(
    theatre: Theatre, prefix: Sequence[str], choices: list[str]
) -> tuple[Played, list[tuple[str, ...]]]:
    sessions = await theatre.set()
    options: list[tuple[str, ...]] = []
    steps: list[str] = []
    try:
        while any(each.stand is not Stand.ENDED for each in sessions.values()):
            able = tuple(name for name, each in sessions.items() if each.stand is Stand.GATE)
            if not able:
                await theatre.relieve()
                await _ask_those_that_wait(sessions)
                continue
            name = prefix[len(choices)] if len(choices) < len(prefix) else able[0]
            assert name in able, f"{name} cannot go on: the run before this one took another way"
            options.append(able)
            choices.append(name)
            session = sessions[name]
            label = session.label
            await session.step()
            waited = "~" if session.stand is Stand.WAITS else ""
            steps.append(f"{name}.{label}{waited}")
            await _ask_those_that_wait(sessions, but=name)
    finally:
        for session in sessions.values():
            await session.abandon()
    return Played(tuple(steps), {name: each.outcome for name, each in sessions.items()}), options


async def _ask_those_that_wait(sessions: Mapping[str, Session], but: str = "") -> None:
    """Repeat until no waiting session can continue: a session that continues may let another one continue."""
    moved = True
    while moved:
        moved = False
        for name, each in sessions.items():
            if each.stand is Stand.WAITS and name != but:
                await each.ask_again()
                moved = moved or each.stand is not Stand.WAITS
        but = ""
