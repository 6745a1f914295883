"""Running flows at the same time: what they send goes into one pipeline, so that all of them take the round trips of the longest one.

Each flow sees its own replies only. So a flow of one partition runs beside those of others without knowing of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final, TypeVar

from keyweave.effects import Call, Command, ConnectionFailure, Effect, Flow, Send, Sleep
from keyweave.errors import KeyweaveError
from keyweave.store.context import Context

T = TypeVar("T")

_MOST: Final = 512
"""Most flows that run at the same time, unless the caller says otherwise."""


def together(context: Context, flows: Iterable[Flow[T]]) -> Flow[list[T]]:
    """Run flows at the same time and return their results in order. If one of them fails, the others are given up.

    Args:
        context: of the flows.
        flows: that do not depend on each other. At most 512 of them run at once.
    """
    every = list(flows)
    if len(every) == 1:
        return [(yield from every[0])]
    return (yield from _Band(context, [every], _MOST, _MOST).play())[0]


def together_in_queues(
    context: Context, queues: Sequence[Sequence[Flow[T]]], each: int, most: int
) -> Flow[list[list[T]]]:
    """Run the flows of several queues, a few of each queue at the same time, and return the results of each queue in order.

    The next flow of a queue begins when one of them has ended. If one of them fails, the others are given up.

    Args:
        context: of the flows, as for `together`.
        queues: such as one for each server, so that none of them has more to do at once than `each` flows ask.
        each: most flows of one queue that run at the same time.
        most: most flows of all queues that run at the same time.
    """
    return (yield from _Band(context, queues, each, most).play())


def caught(flow: Flow[T]) -> Flow[T | KeyweaveError]:
    """Return the result of a flow, or its error."""
    try:
        return (yield from flow)
    except KeyweaveError as error:
        return error


class _Band:
    """Flows that run at the same time. Each waits for its turn, is at an effect, or has ended."""

    def __init__(
        self, context: Context, queues: Sequence[Sequence[Generator[Effect, Any, Any]]], each: int, most: int
    ) -> None:
        self._durable: Final = context.durability is not None
        self._monotonic: Final = context.monotonic
        self._flows: Final = [flow for queue in queues for flow in queue]
        self._queue: Final = [number for number, queue in enumerate(queues) for _ in queue]
        self._waiting: Final[list[deque[int]]] = []
        for queue in queues:
            first = sum(map(len, self._waiting))
            self._waiting.append(deque(range(first, first + len(queue))))
        self._running: Final = [0] * len(queues)
        self._each: Final = each
        self._most: Final = most
        self._effects: Final[dict[int, Effect]] = {}
        self._due: Final[dict[int, float]] = {}
        self._results: Final[list[Any]] = [None] * len(self._flows)

    def play(self) -> Flow[list[list[Any]]]:
        found: list[list[Any]] = [[] for _ in self._running]
        try:
            self._admit()
            while self._effects:
                yield from self._step()
                self._admit()
        finally:
            for flow in self._flows:
                flow.close()
        for queue, result in zip(self._queue, self._results, strict=True):
            found[queue].append(result)
        return found

    def _admit(self) -> None:
        """Begin with the next flows: of the queue that has fewest at work, and of those of the longest one."""
        waiting, running = self._waiting, self._running
        while len(self._effects) < self._most:
            free = [queue for queue, left in enumerate(waiting) if left and running[queue] < self._each]
            if not free:
                return
            queue = min(free, key=lambda each: (running[each], -len(waiting[each])))
            running[queue] += 1
            self._go_on(waiting[queue].popleft(), None)

    def _step(self) -> Flow[None]:
        """Carry out what the flows wait for: calls, then what they send, then what is neither that nor a pause, and pauses at the end.

        So all of them have come to what they send next before it is sent. A pause ends at its own time. Flows that are in each
        other's way would come back together otherwise, again and again.
        """
        if self._due:
            now = self._monotonic()
            for over in [each for each, due in self._due.items() if due <= now]:
                self._go_on(over, None)
            if not self._effects:
                return
        call = next((number for number, effect in self._effects.items() if type(effect) is Call), None)
        if call is not None:
            yield from self._carry_out(call)
            return
        sends = {number: effect for number, effect in self._effects.items() if type(effect) is Send}
        if sends:
            yield from self._send(sends)
            return
        other = next((number for number, effect in self._effects.items() if type(effect) is not Sleep), None)
        if other is not None:
            yield from self._carry_out(other)
            return
        yield from self._pause()

    def _carry_out(self, number: int) -> Flow[None]:
        """Carry out the effect of one flow."""
        try:
            answer = yield self._effects[number]
        except Exception as error:  # noqa: BLE001 - the flow decides what to do about it
            self._fail(number, error)
        else:
            self._go_on(number, answer)

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
            self._share_failure(sends, failure)
            return
        start = 0
        for number, each in sends.items():
            end = start + len(each.commands)
            self._go_on(number, replies[start:end])
            start = end

    def _share_failure(self, sends: dict[int, Send], failure: ConnectionFailure) -> None:
        """Let the flows go on whose servers did answer, and the others fail."""
        answers, start = failure.answers, 0
        for number, each in sends.items():
            places = range(start, start + len(each.commands))
            if all(place in answers for place in places):
                self._go_on(number, [answers[place] for place in places])
            else:
                self._fail(number, failure.copy(places))
            start += len(each.commands)

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
        self._running[self._queue[number]] -= 1
        self._results[number] = result
