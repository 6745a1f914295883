"""Flows that run at the same time, driven with literal replies: what goes into one exchange, and who gets what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from keyweave.effects import Call, ConnectionFailure, Flow, Send, Sleep, Wait
from keyweave.errors import CorruptDocumentError
from keyweave.exchange.together import caught, together, together_in_queues
from tests.scripted import Scripted


class Exchanges:
    """Drives a flow: every command is answered with its last word in capitals. Keeps what each exchange sent."""

    def __init__(self, fail: Callable[[Sequence[str]], BaseException | None] = lambda _: None) -> None:
        self.scripted = Scripted()
        self.context = self.scripted.context
        self.sent: list[list[str]] = []
        self.slept: list[float] = []
        self._fail = fail

    def run(self, flow: Flow[Any]) -> Any:
        answer: Any = None
        failure: BaseException | None = None
        while True:
            try:
                effect = flow.send(answer) if failure is None else flow.throw(failure)
            except StopIteration as stop:
                return stop.value
            answer, failure = None, None
            if isinstance(effect, Sleep):
                self.slept.append(effect.seconds)
                self.scripted.time.now += effect.seconds
            elif isinstance(effect, Call):
                answer = effect.function(*effect.arguments)
            else:
                assert isinstance(effect, Send) and not isinstance(effect, Wait)
                names = [str(command[-1]) for command in effect.commands]
                self.sent.append(names)
                failure = self._fail(names)
                answer = [name.upper() for name in names]


def asks(
    name: str, times: int, widths: list[int] | None = None, running: list[int] | None = None
) -> Flow[str]:
    """Ask some times, one command after another; keeps the most flows that ran at the same time."""
    if running is not None and widths is not None:
        running[0] += 1
        widths.append(running[0])
    for number in range(times):
        (reply,) = yield Send((("GET", f"{name}{number}"),))
        assert reply == f"{name}{number}".upper()
    if running is not None:
        running[0] -= 1
    return name


def test_flows_of_uneven_lengths_take_the_round_trips_of_the_longest() -> None:
    driven = Exchanges()
    found = driven.run(together(driven.context, [asks("a", 3), asks("b", 0), asks("c", 1), asks("d", 2)]))
    assert found == ["a", "b", "c", "d"]
    assert driven.sent == [["a0", "c0", "d0"], ["a1", "d1"], ["a2"]]


def test_flows_that_end_at_once_need_no_exchange() -> None:
    driven = Exchanges()
    assert driven.run(together(driven.context, [])) == []
    assert driven.run(together(driven.context, [asks("a", 0), asks("b", 0)])) == ["a", "b"]
    assert driven.run(together_in_queues(driven.context, [[], [asks("a", 0)] * 1], 1, 1)) == [[], ["a"]]
    assert driven.sent == []


def test_a_queue_has_no_more_flows_at_work_than_it_may_and_the_next_one_begins_when_one_ends() -> None:
    driven = Exchanges()
    queues = [[asks("a", 2), asks("b", 1), asks("c", 0), asks("d", 1)], [asks("x", 1)]]
    assert driven.run(together_in_queues(driven.context, queues, 1, 8)) == [["a", "b", "c", "d"], ["x"]]
    assert driven.sent == [["a0", "x0"], ["a1"], ["b0"], ["d0"]]


def test_all_queues_together_have_no_more_flows_at_work_than_they_may() -> None:
    driven = Exchanges()
    widths: list[int] = []
    running = [0]
    queues = [[asks(f"{q}.{n}.", 1 + n % 3, widths, running) for n in range(7)] for q in range(5)]
    names = [[f"{q}.{n}." for n in range(7)] for q in range(5)]
    assert driven.run(together_in_queues(driven.context, queues, 2, 6)) == names
    assert max(widths) == 6 and max(map(len, driven.sent)) == 6
    for sent in driven.sent:
        for queue in range(5):
            assert sum(name.startswith(f"{queue}.") for name in sent) <= 2


def test_each_queue_has_a_flow_at_work_before_another_has_two() -> None:
    driven = Exchanges()
    queues = [[asks(f"{q}{n}.", 1) for n in range(2)] for q in "abc"]
    driven.run(together_in_queues(driven.context, queues, 2, 3))
    assert driven.sent == [["a0.0", "b0.0", "c0.0"], ["a1.0", "b1.0", "c1.0"]]


def test_what_a_flow_calls_is_done_before_the_others_send_so_that_it_sends_with_them() -> None:
    driven = Exchanges()
    called: list[str] = []

    def calls(name: str) -> Flow[None]:
        for number in range(2):
            yield Call(called.append, name)
            yield Send((("GET", f"{name}{number}"),))

    driven.run(together(driven.context, [calls("a"), asks("b", 2), calls("c")]))
    assert driven.sent == [["a0", "b0", "c0"], ["a1", "b1", "c1"]]
    assert called == ["a", "c", "a", "c"]


def test_an_error_in_one_flow_gives_the_others_up_unless_it_is_caught() -> None:
    closed: list[str] = []

    def fails() -> Flow[str]:
        yield Send((("GET", "bad"),))
        raise CorruptDocumentError("it is damaged")

    def goes_on() -> Flow[str]:
        try:
            return (yield from asks("a", 3))
        except GeneratorExit:
            closed.append("a")
            raise

    driven = Exchanges()
    with pytest.raises(CorruptDocumentError, match="damaged"):
        driven.run(together_in_queues(driven.context, [[goes_on()], [fails()]], 1, 2))
    assert (closed, driven.sent) == (["a"], [["a0", "bad"]])
    driven = Exchanges()
    found, error = driven.run(together(driven.context, [asks("a", 2), caught(fails())]))
    assert (found, str(error)) == ("a", "it is damaged")
    assert driven.sent == [["a0", "bad"], ["a1"]]


def test_a_pause_of_one_flow_does_not_stop_the_others() -> None:
    def pauses() -> Flow[str]:
        yield Sleep(5.0)
        return (yield from asks("p", 1))

    driven = Exchanges()
    assert driven.run(together(driven.context, [pauses(), asks("a", 2)])) == ["p", "a"]
    assert (driven.sent, driven.slept) == ([["a0"], ["a1"], ["p0"]], [5.0])


def test_flows_inside_flows_go_on_as_well_when_their_servers_have_answered() -> None:
    def persists(word: str) -> Flow[str]:
        while True:
            try:
                (found,) = yield Send((("GET", word),))
            except ConnectionFailure:
                continue
            return str(found)

    def fail(names: Sequence[str]) -> BaseException | None:
        if len(driven.sent) > 1:
            return None
        answers = {place: name.upper() for place, name in enumerate(names) if name != "gone"}
        return ConnectionFailure("closed", "one is gone", sent=True, answers=answers)

    driven = Exchanges(fail)
    inner = together(driven.context, [persists("a"), persists("gone"), persists("b")])
    assert driven.run(together(driven.context, [persists("c"), inner])) == ["C", ["A", "GONE", "B"]]
    assert driven.sent == [["c", "a", "gone", "b"], ["gone"]]


def test_flows_whose_servers_have_answered_do_not_fail_with_the_others() -> None:
    """Only the flow of the server that is gone sends again; the one that had half of its answers sends both again."""
    failed: list[tuple[str, bool, int]] = []

    def persists(name: str, *words: str) -> Flow[list[str]]:
        while True:
            try:
                found: list[str] = yield Send(tuple(("GET", word) for word in words))
                return found
            except ConnectionFailure as failure:
                failed.append((name, failure.sent, len(failure.answers)))

    def fail(names: Sequence[str]) -> BaseException | None:
        if len(driven.sent) > 1:
            return None
        answers = {place: name.upper() for place, name in enumerate(names) if "gone" not in name}
        return ConnectionFailure("closed", "one is gone", sent=True, answers=answers)

    driven = Exchanges(fail)
    flows = [persists("good", "a", "b"), persists("half", "c", "gone"), persists("none", "gone too")]
    assert driven.run(together(driven.context, flows)) == [["A", "B"], ["C", "GONE"], ["GONE TOO"]]
    assert failed == [("half", True, 1), ("none", True, 0)]
    assert driven.sent == [["a", "b", "c", "gone", "gone too"], ["c", "gone", "gone too"]]
