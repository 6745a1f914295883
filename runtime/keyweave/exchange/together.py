"""Running flows at the same time: what they send goes into one pipeline, so that all of them take the round trips of the longest one.

Each flow sees its own replies only. So a flow of one partition runs beside those of others without knowing of them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, Final, TypeVar

from keyweave.effects import Command, ConnectionFailure, Effect, Flow, Send, Sleep
from keyweave.errors import KeyweaveError
from keyweave.store.context import Context

T = TypeVar("T")

_MOST: Final = 512
"""Most flows that run at the same time."""


def together(context: Context, flows: Iterable[Flow[T]]) -> Flow[list[T]]:
    """Run flows at the same time and return their results in order. If one of them fails, the others are given up.

    Args:
        context: of the flows.
        flows: that do not depend on each other.
    """
    every = list(flows)
    found: list[T] = []
    for start in range(0, len(every), _MOST):
        part = every[start : start + _MOST]
        found += [(yield from part[0])] if len(part) == 1 else (yield from _Band(context, part).play())
    return found


def caught(flow: Flow[T]) -> Flow[T | KeyweaveError]:
    """Return the result of a flow, or its error."""
    try:
        return (yield from flow)
    except KeyweaveError as error:
        return error


class _Band:
    """Flows that run at the same time. Each is at an effect, or has ended."""

    def __init__(self, context: Context, flows: list[Generator[Effect, Any, Any]]) -> None:
        self._durable: Final = context.durability is not None
        self._flows: Final = flows
        self._monotonic: Final = context.monotonic
        self._effects: Final[dict[int, Effect]] = {}
        self._due: Final[dict[int, float]] = {}
        self._results: Final[dict[int, Any]] = {}

    def play(self) -> Flow[list[Any]]:
        try:
            for number in range(len(self._flows)):
                self._go_on(number, None)
            while self._effects:
                yield from self._step()
        finally:
            for flow in self._flows:
                flow.close()
        return [self._results[number] for number in range(len(self._flows))]

    def _step(self) -> Flow[None]:
        """Carry out what the flows wait for: first what they send, then what is neither that nor a pause, and pauses at the end.

        A pause ends at its own time. Flows that are in each other's way would come back together otherwise, again and again.
        """
        if self._due:
            now = self._monotonic()
            for over in [each for each, due in self._due.items() if due <= now]:
                self._go_on(over, None)
            if not self._effects:
                return
        sends = {number: effect for number, effect in self._effects.items() if type(effect) is Send}
        if sends:
            yield from self._send(sends)
            return
        number, effect = next(
            (each for each in self._effects.items() if type(each[1]) is not Sleep), (None, None)
        )
        if number is not None and effect is not None:
            try:
                answer = yield effect
            except Exception as error:  # noqa: BLE001 - the flow decides what to do about it
                self._fail(number, error)
            else:
                self._go_on(number, answer)
            return
        yield from self._pause()

    def _send(self, sends: dict[int, Send]) -> Flow[None]:
        commands: list[Command] = []
        for each in sends.values():
            commands += each.commands
        within = min([each.within for each in sends.values() if each.within is not None], default=None)
        joined = Send(commands, within)
        if self._durable:
            parts = [part for each in sends.values() for part in each.parts or (each,)]
            joined = Send(commands, within, max(part.confirm for part in parts), parts=parts)
        try:
            replies = yield joined
        except ConnectionFailure as failure:
            for number in sends:
                self._fail(number, failure.copy())
            return
        start = 0
        for number, each in sends.items():
            end = start + len(each.commands)
            self._go_on(number, replies[start:end])
            start = end

    def _pause(self) -> Flow[None]:
        first = min(self._due, key=self._due.__getitem__)
        numbers = [number for number, due in self._due.items() if due <= self._due[first]]
        try:
            yield Sleep(max(0.0, self._due[first] - self._monotonic()))
        except ConnectionFailure as failure:
            for number in list(self._due):  # the others would end later still
                self._fail(number, failure.copy())
        else:
            for number in numbers:
                self._go_on(number, None)

    def _go_on(self, number: int, answer: Any) -> None:
        self._due.pop(number, None)
        try:
            self._begin(number, self._flows[number].send(answer))
        except StopIteration as stop:
            self._end(number, stop.value)

    def _fail(self, number: int, error: BaseException) -> None:
        self._due.pop(number, None)
        try:
            self._begin(number, self._flows[number].throw(error))
        except StopIteration as stop:
            self._end(number, stop.value)

    def _begin(self, number: int, effect: Effect) -> None:
        self._effects[number] = effect
        if type(effect) is Sleep:
            self._due[number] = self._monotonic() + effect.seconds

    def _end(self, number: int, result: Any) -> None:
        self._effects.pop(number, None)
        self._results[number] = result
