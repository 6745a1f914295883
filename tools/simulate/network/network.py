"""The network: carries exchanges to the server and back, and lets the scenario's faults happen to them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from keyweave.effects import Command, ServerError
from tools.simulate.draws import chance, draws, fraction
from tools.simulate.network.links import Client, Exchange, Link, closed, not_connected, timed_out
from tools.simulate.network.timeline import Timeline
from tools.simulate.network.trace import Trace
from tools.simulate.scenario import FAULTS, Place, Scenario
from tools.simulate.server.node import REFUSALS, Node
from tools.simulate.words import answer_in_words, command_in_words

_FAULT, _OUT, _BACK, _SIZE, _SPLIT, _WHERE, _BETWEEN, _NOTICED = range(8)
"""Which of a place's draws decides what."""


class Network:
    """Between the clients and the server.

    Attributes:
        exchanges: how many pipelines were sent.
        sent_at: when each pipeline was sent, in virtual microseconds.
        faults: what happened to exchanges, in order.
        down: the server accepts no connection.
        paused: the server does not read what arrives; None while it does.
    """

    def __init__(self, scenario: Scenario, timeline: Timeline, node: Node, trace: Trace) -> None:
        self.exchanges = 0
        self.sent_at: Final[dict[Place, int]] = {}
        self.faults: Final[list[tuple[Place, str]]] = []
        self.down = False
        self.paused: list[Exchange] | None = None
        self._scenario = scenario
        self._timeline = timeline
        self._node = node
        self._trace = trace
        self._timeout = int(scenario.timeout * 1_000_000)
        self._links: list[Link] = []
        self._under_way: dict[Exchange, None] = {}
        self._rates = [(name, scenario.rates.get(name, 0.0)) for name in FAULTS]
        self._quiet = not scenario.rates

    def send(
        self, client: Client, commands: Sequence[Command], place: Place, within: float | None = None
    ) -> Exchange:
        """Send a pipeline; the client learns what comes of it, at the latest after its timeout or `within` seconds."""
        numbers = draws(self._scenario.seed, 2, *place)
        now, timeline = self._timeline.now, self._timeline
        self.exchanges += 1
        self.sent_at[place] = now
        out = self._way(numbers[_OUT])
        link = client.link
        if link is not None and link.cut and numbers[_NOTICED] & 1:
            link = None  # the pool noticed that the server hung up
        if link is None:
            if self.down:
                exchange = Exchange(client, commands, place, Link())
                timeline.at(now + out, self._fail, exchange, not_connected(), "no connection")
                return exchange
            client.link = link = Link()
            self._links.append(link)
            out += 2 * out
        exchange = Exchange(client, commands, place, link)
        exchange.way_back = self._way(numbers[_BACK])
        self._under_way[exchange] = None
        if self._trace.recording:
            self._trace.say(now, place, f"sends {' | '.join(map(command_in_words, commands))}")
        if link.cut:
            timeline.at(now + out, self._fail, exchange, closed("reset by peer"), "cut while idle")
            return exchange
        exchange.patience = self._timeout if within is None else min(self._timeout, int(within * 1_000_000))
        timeline.at(now + exchange.patience, self._time_out, exchange)
        fault = None if self._quiet else self._fault(numbers[_FAULT], place)
        if fault is None:
            timeline.at(now + out, self._arrive, exchange, 0)
        else:
            self._happen(fault, exchange, out, fraction(numbers[_SIZE]))
        return exchange

    def _way(self, number: int) -> int:
        """Microseconds of one way: most are usual, a few much slower."""
        share = number / 4294967296
        return int(self._scenario.latency * (0.4 + share + 4 * share**8)) + 1

    def _fault(self, number: int, place: Place) -> str | None:
        only = self._scenario.only
        if only is not None and place not in only:
            return None
        share = fraction(number)
        for name, rate in self._rates:
            share -= rate
            if share < 0:
                return None if name in ("cancel", "crash") and place[2] < 1 else name
        return None

    def _happen(self, fault: str, exchange: Exchange, out: int, size: float) -> None:
        timeline, now = self._timeline, self._timeline.now
        self.faults.append((exchange.place, fault))
        self._trace.note(now, exchange.place, fault)
        if self._trace.recording:
            self._trace.say(now, exchange.place, f"  fault: {fault}")
        if fault == "request lost":
            return
        if fault == "cut before":
            timeline.at(now + out, self._fail, exchange, closed("reset by peer"), fault)
            return
        if fault == "slow request":
            out += int(self._timeout * 12 * size**3)
        elif fault == "slow reply":
            exchange.way_back += int(self._timeout * 3 * size)
        elif fault == "reply lost":
            exchange.lost_reply = True
        elif fault == "cut after":
            exchange.lost_reply = True
            timeline.at(now + 2 * out, self._fail, exchange, closed("reset by peer"), fault)
        elif fault == "refused":
            self._refuse(exchange)
        elif fault == "cancel":
            timeline.at(now + int(3 * out * size), self._fail, exchange, asyncio.CancelledError(), fault)
        elif fault == "crash":
            timeline.at(now + int(3 * out * size), self._crash, exchange)
        timeline.at(now + out, self._arrive, exchange, 0)

    def _refuse(self, exchange: Exchange) -> None:
        numbers, commands = draws(self._scenario.seed, 3, *exchange.place), exchange.commands
        text = REFUSALS[numbers[_SIZE] % len(REFUSALS)]
        exchange.refusal = ServerError(text.partition(" ")[0], text)
        exchange.refused_from = 0 if commands[0][0] == "MULTI" else numbers[_WHERE] % len(commands)

    def _arrive(self, exchange: Exchange, ran: int) -> None:
        """The request, or what is left of it behind its first `ran` commands, is at the server."""
        if exchange.link.cut:
            return
        if self.paused is not None:
            self.paused.append(exchange)
            return
        place, commands = exchange.place, exchange.commands
        now, timeline, node = self._timeline.now, self._timeline, self._node
        stop = len(commands)
        if ran == 0 and stop > 1 and self._scenario.split and commands[0][0] != "MULTI":
            numbers = draws(self._scenario.seed, 3, *place)
            if fraction(numbers[_SPLIT]) < self._scenario.split:
                stop = 1 + numbers[_WHERE] % (stop - 1)
        if exchange.refusal is not None:
            stop, last = len(commands), exchange.refused_from
            replies = [*node.pipeline(commands[:last], now, place), *[exchange.refusal] * (stop - last)]
        else:
            replies = node.pipeline(commands[ran:stop], now, place)
        exchange.replies += replies
        self._trace.note(now, place, f"ran {ran} {stop} {[_digest(reply) for reply in replies]}")
        if self._trace.recording:
            late = " (its client no longer waits)" if exchange.over else ""
            names = " | ".join(command_in_words(command, brief=True) for command in commands[ran:stop])
            said = " | ".join(map(answer_in_words, replies))
            self._trace.say(now, place, f"  server runs {names}{late}: {said}")
        if stop < len(commands):
            between = self._way(draws(self._scenario.seed, 3, *place)[_BETWEEN])
            timeline.at(now + between, self._arrive, exchange, stop)
        elif not exchange.lost_reply and not exchange.over:
            timeline.at(now + exchange.way_back, self._deliver, exchange)

    def _deliver(self, exchange: Exchange) -> None:
        if exchange.over or exchange.link.cut:
            return
        exchange.over = True
        self._under_way.pop(exchange, None)
        exchange.client.answered(exchange.replies)

    def _time_out(self, exchange: Exchange) -> None:
        if not exchange.over:
            self._fail(exchange, timed_out(exchange.patience / 1_000_000), "timeout")

    def _fail(self, exchange: Exchange, failure: BaseException, why: str) -> None:
        if exchange.over:
            return
        exchange.over = True
        exchange.client.link = None
        self._under_way.pop(exchange, None)
        self._trace.note(self._timeline.now, exchange.place, why)
        if self._trace.recording:
            self._trace.say(
                self._timeline.now, exchange.place, f"  learns: {str(failure) or type(failure).__name__}"
            )
        exchange.client.failed(failure)

    def _crash(self, exchange: Exchange) -> None:
        if not exchange.over:
            exchange.client.crash()

    def forget(self, exchange: Exchange) -> None:
        """The client is gone. Its request arrives all the same."""
        exchange.over = True
        self._under_way.pop(exchange, None)

    def cut_links(self) -> None:
        """Every connection breaks; what is under way is lost unless it ran already."""
        for link in self._links:
            link.cut = True
        self._links = []
        if self.paused is not None:
            self.paused = []
        for exchange in list(self._under_way):
            if exchange.link.cut:
                moment = self._timeline.now + self._scenario.latency
                self._timeline.at(moment, self._fail, exchange, closed("reset by peer"), "cut")

    def pause(self) -> None:
        """The server stops reading."""
        if self.paused is None:
            self.paused = []

    def resume(self, number: int) -> None:
        """The server goes on, with its connections in an order of its own."""
        waiting, self.paused = self.paused or [], None
        chance(self._scenario.seed, 4, number).shuffle(waiting)
        for exchange in waiting:
            self._arrive(exchange, len(exchange.replies))


def _digest(reply: Any) -> str:
    """A reply; of a list its length and least element, because flows may ask for the elements of a set in any order."""
    if not isinstance(reply, list):
        return repr(reply)
    return f"[{len(reply)} {min(map(repr, reply), default='')}]"
