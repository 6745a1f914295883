"""The network with several servers: each part of a pipeline takes its own time, and may be lost while another arrives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from keyweave.effects import ServerError
from tools.simulate.draws import draws, fraction
from tools.simulate.network.links import Exchange
from tools.simulate.network.network import Network
from tools.simulate.network.timeline import Timeline
from tools.simulate.network.trace import Trace
from tools.simulate.partitions.masters import Masters
from tools.simulate.scenario import Scenario
from tools.simulate.words import answer_in_words, command_in_words

MORE_FAULTS: Final = ("part lost", "late request", "stall")
"""What happens to exchanges besides `scenario.FAULTS`. A part is lost of a pipeline that has several."""

_LATEST: Final = 40_000_000
_LONGEST_STALL: Final = 2_000_000_000
"""A client may stand still for longer than any fence lives."""


class SpreadNetwork(Network):
    """Between the clients and several servers.

    Attributes:
        stalled: virtual microseconds for which each exchange's client stood still before it sent.
    """

    def __init__(self, scenario: Scenario, timeline: Timeline, masters: Masters, trace: Trace) -> None:
        super().__init__(scenario, timeline, masters, trace)
        self._masters: Final = masters
        self._missing: Final[dict[Exchange, int]] = {}
        self._patient: Final[dict[Exchange, int]] = {}
        self._dropped: Final[set[tuple[Exchange, int]]] = set()
        self._halted: Final[dict[int, list[tuple[Any, ...]]]] = {}
        self._rates += [(name, scenario.rates.get(name, 0.0)) for name in MORE_FAULTS]

    def _happen(self, fault: str, exchange: Exchange, out: int, size: float) -> None:
        if fault not in MORE_FAULTS:
            super()._happen(fault, exchange, out, size)
            return
        timeline, now = self._timeline, self._timeline.now
        self.faults.append((exchange.place, fault))
        self._trace.note(now, exchange.place, fault)
        if self._trace.recording:
            self._trace.say(now, exchange.place, f"  fault: {fault}")
        if fault == "late request":
            out += int(_LATEST * size**3)
        elif fault == "stall":
            lasts = int(_LONGEST_STALL * size**4)
            out += lasts
            # The process stands still before it sends, so its timeout begins later as well.
            self._patient[exchange] = now + lasts + exchange.patience
            act = getattr(exchange.client, "act", None)
            if act is not None:
                act.paused += lasts
        timeline.at(now + out, self._arrive_without, exchange, fault == "part lost")

    def _time_out(self, exchange: Exchange) -> None:
        until = self._patient.pop(exchange, 0)
        if until > self._timeline.now:
            self._timeline.at(until, self._time_out, exchange)
        else:
            super()._time_out(exchange)

    def _arrive(self, exchange: Exchange, ran: int) -> None:
        assert ran == 0
        self._arrive_without(exchange, False)

    def _arrive_without(self, exchange: Exchange, lost: bool) -> None:
        """The request is on its way to each server. If `lost`, one of several never has its part."""
        if exchange.link.cut:
            return
        parts = list(self._masters.parts(exchange.commands).items())
        numbers = draws(self._scenario.seed, 40, *exchange.place)
        exchange.replies = [None] * len(exchange.commands)
        self._missing[exchange] = len(parts)
        without = numbers[0] % len(parts) if lost else -1
        for number, (server, places) in enumerate(parts):
            if number != without:
                later = self._way(numbers[1 + number]) if len(parts) > 1 else 0
                self._timeline.at(self._timeline.now + later, self._begin_part, exchange, server, places)

    def _begin_part(self, exchange: Exchange, server: int, places: Sequence[int]) -> None:
        """A server has its part, and may carry out the first commands before those of other clients, the rest behind them."""
        numbers = draws(self._scenario.seed, 41, *exchange.place)
        whole = len(places) == 1 or any(exchange.commands[place][0] == "MULTI" for place in places)
        if whole or fraction(numbers[server]) >= self._scenario.split:
            self._run(exchange, server, places, True)
            return
        size = 1 + numbers[4 + server] % (len(places) - 1)
        self._run(exchange, server, places[:size], False)
        between = self._way(numbers[8 + server])
        self._timeline.at(self._timeline.now + between, self._run, exchange, server, places[size:], True)

    def _run(self, exchange: Exchange, server: int, places: Sequence[int], last: bool) -> None:
        """Let a server carry out commands; `last` for the last ones of its part."""
        masters, now, place = self._masters, self._timeline.now, exchange.place
        if exchange.link.cut or server in masters.away or (exchange, server) in self._dropped:
            # The rest of a part whose beginning found no server came over the same connection.
            self._dropped.add((exchange, server))
            return
        if server in self._halted:
            self._halted[server].append((exchange, server, places, last))
            return
        commands = [exchange.commands[each] for each in places]
        refused: ServerError | None = exchange.refusal
        if refused is not None and places[-1] >= exchange.refused_from:
            kept = [
                command
                for each, command in zip(places, commands, strict=True)
                if each < exchange.refused_from
            ]
            if any(command[0] == "MULTI" for command in commands):
                kept = []
            replies = masters.run(server, kept, now, place)
            replies += [refused] * (len(commands) - len(kept))
        else:
            replies = masters.run(server, commands, now, place)
        for each, reply in zip(places, replies, strict=True):
            exchange.replies[each] = reply
        self._trace.note(now, place, f"ran on {server} {list(places)} {len(replies)}")
        if self._trace.recording:
            late = " (its client no longer waits)" if exchange.over else ""
            names = " | ".join(command_in_words(command, brief=not late) for command in commands)
            said = " | ".join(map(answer_in_words, replies))
            self._trace.say(now, place, f"  server {server} runs {names}{late}: {said}")
        if last:
            self._missing[exchange] -= 1
            if not self._missing[exchange] and not exchange.lost_reply and not exchange.over:
                self._timeline.at(now + exchange.way_back, self._deliver, exchange)

    def halt(self, server: int) -> None:
        """A server stops reading."""
        self._halted.setdefault(server, [])

    def go_on(self, server: int) -> None:
        """A server reads again."""
        for waiting in self._halted.pop(server, []):
            self._run(*waiting)
